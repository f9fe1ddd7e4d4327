"""Tables of the papers, run by this code: above both training and inference, which they join."""
