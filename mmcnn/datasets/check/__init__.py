"""Whether a data folder is fit to be used: its annotations and images are looked at before anything is trained."""
