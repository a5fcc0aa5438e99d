"""From one labelled scan to masks of a folder of others, with a word on which to trust."""
