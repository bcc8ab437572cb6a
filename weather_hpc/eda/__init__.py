"""Exploratory data analysis of a folder of images: tables, figures, one page."""
