"""Reports of jobs: what was measured and learned, as one HTML file that needs nothing else, and as JSON beside it.

Owns how figures are put before people, on a terminal (`numbers`) and on a page; computes none of them. The one rule:
rubric text, prompts and names are data: they are escaped where they are shown, and no template or plot reads them.
"""
