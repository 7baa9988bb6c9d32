"""The audit of the Python packages installed here: what there is, how large it is, under which licence."""
