"""How many judges a training cluster needs: arithmetic on numbers that people know or measure.

Refuses to measure and to print; `arr size` does the printing.
"""
