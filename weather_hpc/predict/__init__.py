"""New images -> their predicted classes, with probabilities and an annotated picture sheet."""
