"""Whether two models that answered the same rows are right equally often, by the rows on which only one of them is.

McNemar (1947): when neither is better, each such row is a coin thrown. The exact test is that of the binomial
distribution; it is cautious on few rows, and the mid-p value (Fagerland, Lydersen and Laake, 2013) is less so.
"""

from __future__ import annotations

from math import comb


def mcnemar(lost: int, gained: int) -> dict[str, float]:
    """`{exact, mid_p}`, both two-sided p-values, from the rows that only the first, and only the second, has right.

    Without such a row both are 1.
    """
    rows, fewer = lost + gained, min(lost, gained)
    if not rows:
        return {"exact": 1.0, "mid_p": 1.0}
    tail = sum(comb(rows, k) for k in range(fewer + 1))  # whole numbers of any size: nothing is rounded away
    exact, middle = 2 * tail / 2**rows, comb(rows, fewer) / 2**rows
    if lost == gained:
        return {"exact": 1.0, "mid_p": 1 - middle / 2}
    return {"exact": exact, "mid_p": exact - middle}
