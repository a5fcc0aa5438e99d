"""One file per method, or one folder where a method has parts of its own."""
