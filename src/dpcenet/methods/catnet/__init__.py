"""CAT-Net: cross masked attention transformer."""
