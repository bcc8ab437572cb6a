"""Image folders and packed stores: catalogue and split, synthetic images, download, store."""
