"""The page of a farm: a small server on the standard library that shows a job and does nothing to it.

    address    [HOST:]PORT, and the names by which a browser may ask
    cells      the map of the chunks
    series     throughput over time
    staff      the workers
    news       sentences about events
    board      the snapshot: these four, folded from events
    metrics    the snapshot as text for Prometheus
    asking     a request and its answer, as bytes
    page       the one page, and the hashes of its parts
    client     one request to a page, for `zaudio status`
    door       its sockets       site     the thread, what it tells and to whom

Rules: all but `site`, `door`, `page` and `client` are pure, and get the time as an argument. The room reads events and
facts; nothing in it reaches the farm. The farm's thread never waits for it: events come through a bounded subscription.
"""

from zaudio.web.address import Address, parse_address
from zaudio.web.site import Site

__all__ = ["Address", "Site", "parse_address"]
