"""Images -> packed store: how one image is decoded, the backends, and the stage that times them."""
