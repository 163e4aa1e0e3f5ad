"""Training a region proposal network: where in an image is an object, of whatever class."""
