"""What is counted and put right when a store is opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import lmdb

from codomyrmex.cache.errors import CacheConfigError
from codomyrmex.cache.eviction import EvictionPolicy

from ._errors import Damaged
from ._rows import NO_QUEUE, Place, bits_to_rank, rank_to_bits, whole_key

if TYPE_CHECKING:
    from ._opened import Opened

_QUEUES = b"queues"
_SPARE_PAGES = 64


def carry_over(opened: Opened, policy: EvictionPolicy, *, alone: bool) -> None:
    """If the store was last used with another eviction policy, put its entries into this one's queues, in their order.

    Raises:
        CacheConfigError: Another process uses it with another policy.
        NoRoom: The disk has no room for it.
    """
    if not opened.writable:
        return
    mine = _signature(policy)
    with opened.env.begin() as transaction:
        before = transaction.get(_QUEUES, db=opened.policy)
    if before == mine:
        return
    if before is not None and not alone:
        raise CacheConfigError("another process uses this store with another eviction policy")
    opened.begin_writing()
    with opened.env.begin() as transaction:
        pages = sum(transaction.stat(table)["leaf_pages"] for table in (opened.places, opened.order))
    opened.reserve(2 * pages + _SPARE_PAGES)
    try:
        with opened.env.begin(write=True) as transaction:
            opened.control.begin(transaction.id())
            if before is not None:
                _requeue(transaction, opened, policy)
            sign(transaction, opened, policy)
    except lmdb.MapFullError as error:
        raise Damaged("it has no room to go over to another eviction policy") from error


def sign(transaction: Any, opened: Opened, policy: EvictionPolicy) -> None:
    """Note whose queues there are."""
    transaction.put(_QUEUES, _signature(policy), db=opened.policy)


def _signature(policy: EvictionPolicy) -> bytes:
    return json.dumps([(spec.name, spec.order, spec.ghosts is None) for spec in policy.queues]).encode()


def _requeue(transaction: Any, opened: Opened, policy: EvictionPolicy) -> None:
    lanes = [index for index, spec in enumerate(policy.queues) if spec.ghosts is None]
    named = [index for index in lanes if policy.queues[index].name == "main"]
    queue = (named or lanes)[0]
    ranked = policy.queues[queue].order == "rank"
    with transaction.cursor(opened.order) as cursor:
        keys = list(cursor.iternext(keys=False, values=True))
    transaction.drop(opened.order, delete=False)
    transaction.drop(opened.policy, delete=False)
    opened.control.reset_counts()
    for key in keys:
        row = transaction.get(key, db=opened.places)
        if row is None:
            raise Damaged("an entry has no place")
        if transaction.get(key, db=opened.entries) is None:  # only remembered, by a policy that is gone
            transaction.delete(key, db=opened.places)
            continue
        number = opened.control.number()
        place = Place.unpack(row)._replace(queue=queue, at=rank_to_bits(number) if ranked else number)
        transaction.put(key, place.pack(whole_key(row)), db=opened.places)
        transaction.put(place.order_key, key, db=opened.order)
        opened.control.count(queue, 1, place.size)


def take(opened: Opened, policy: EvictionPolicy) -> None:
    """Count all queues anew, in a store that was not left in good order.

    Raises:
        Damaged: The tables don't agree.
    """
    control, specs = opened.control, policy.queues
    entries = queued = ending = highest = 0
    counts = [[0, 0] for _ in specs]
    with opened.env.begin(buffers=True) as transaction:
        with transaction.cursor(opened.places) as cursor:
            for key, row in cursor:
                place = Place.unpack(row)
                highest = max(highest, place.number)
                record = transaction.get(key, db=opened.entries)
                ghost = False
                if place.queue != NO_QUEUE:
                    if place.queue >= len(specs):
                        raise Damaged("an entry stands in a queue that there is not")
                    queued += 1
                    spec, count = specs[place.queue], counts[place.queue]
                    ghost = spec.ghosts is not None
                    count[0] += 1
                    count[1] = max(count[1], place.at) if ghost else count[1] + place.size
                    if not ghost:
                        highest = max(highest, _number(place, spec.order, policy.marks))
                    if transaction.get(place.order_key, db=opened.order) != key:
                        raise Damaged("an entry is not where its place says")
                if ghost is not (record is None) or (record is not None and len(record) != place.size):
                    raise Damaged("an entry is not what its place says")
                if place.ends and transaction.get(place.expiry_key, db=opened.expiry) != key:
                    raise Damaged("an entry has no end")
                entries += not ghost
                ending += place.ends
        tables = (opened.entries, opened.order, opened.expiry)
        found = tuple(transaction.stat(table)["entries"] for table in tables)
    if found != (entries, queued, ending):
        raise Damaged("its tables don't agree")
    if opened.writable:
        control.reset_counts()
        for queue, (number, size) in enumerate(counts):
            control.count(queue, number, size)
        control.raise_number(highest)


def _number(place: Place, order: str, marks: str) -> int:
    """The highest number that stands in a place: ranks of a policy of recency are numbers too."""
    if order == "arrival":
        return place.at
    rank = bits_to_rank(place.at) if marks == "recency" else 0.0
    return int(rank) if 0 <= rank < 2**53 else 0
