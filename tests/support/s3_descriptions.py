"""Makes the clients of S3 in this process, and in those forked off it, share what each reads of S3: longer than most tests take."""

from __future__ import annotations

from functools import cache

import botocore.session

botocore.session.create_loader = cache(botocore.session.create_loader)
botocore.session.get_session().create_client("s3", "us-east-1")
