"""What a folder of images holds, before anything is trained on it: figures, tables, one page."""
