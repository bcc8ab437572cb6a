"""Images -> packed store: decoders, backends, and the stage that times them."""
