"""Studies: which trial of a search is next, what became of each, and the page that shows them."""
