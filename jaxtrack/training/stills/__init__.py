"""Single images to train on: rendered ones, a dataset's, a folder's; with the boxes of their objects where known."""
