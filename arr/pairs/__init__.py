"""`arr pairs …`: published preference datasets, read from local files and handed to the service.

A format turns the records of its files into `LabelledRow`s and refuses the others with a reason (`rows`); everything
after that – choosing, reading pictures, counting, packing – knows no format. Owns no label: what a dataset says is
passed on as it says it. The one rule: rows are streamed; no file is ever held whole.
"""
