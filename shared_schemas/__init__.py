"""Wire types shared by the service, its clients and the trainer.

Owns the shape of every request and answer; owns no behaviour beyond validation and digests. Imports the standard
library and pydantic only, so that the lightest client can import it.

The one rule: requests refuse unknown fields (a typo is an error), answers ignore them (a newer server does not break an
older client).
"""
