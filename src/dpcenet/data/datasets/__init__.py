"""How the folders and files of each known data set are read: one file per data set."""
