"""Which masks to trust: signals, predicted Dice, flags, and the page that shows them."""
