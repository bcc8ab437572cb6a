"""Image folders and packed stores: catalogue, split, synthetic images, the store itself."""
