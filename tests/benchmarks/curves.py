"""1,000 dilution curves with 95 % limits: ours in one batch, against a loop over scipy's curve_fit, in one run.

    python tests/benchmarks/curves.py [--curves 1000] [--noise 0.08]

Both get the same points (ten dilutions, three-fold, and a well without serum), the same four-parameter model and the
same objective (squares of log residuals), and both give limits of the midpoint. curve_fit refuses an infinite
dilution: it gets 1e30. scipy runs as most people write it: one start taken from the data; in natural
parameters, and in ours with our limits and without any. A curve counts as worse when its sum of squares is above
ours by more than one in 10,000, as better the other way round.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import stdtrit

from aqp4flow.assay.curves.curve import Series, fit_curves
from aqp4flow.assay.curves.curvefit import fit_all, limits_of

Array = NDArray[np.float64]
LADDER = np.array([*(10 * 3.0 ** np.arange(10)), math.inf])


def simulated(count: int, noise: float, seed: int = 20140315) -> list[Series]:
    """Curves of sera: background 50 to 200, span 1,000 to 30,000, midpoint 1:1 to 1:100,000, slope 0.7 to 1.8."""
    rng = np.random.default_rng(seed)
    series = []
    for _ in range(count):
        base, span = rng.uniform(50, 200), 10 ** rng.uniform(3, 4.5)
        middle, slope = 10 ** rng.uniform(0, 5), rng.uniform(0.7, 1.8)
        clean = base + span / (1 + (LADDER / middle) ** slope)
        series.append(Series(LADDER, clean * np.exp(noise * rng.standard_normal(len(LADDER)))))
    return series


def log_4pl(dilution: Array, base: float, log_span: float, log_middle: float, log_slope: float) -> Array:
    """ln of the four-parameter model, in the parameters that the limits are of; NaN where it is not above 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.log(base + np.exp(log_span) / (1 + (dilution / np.exp(log_middle)) ** np.exp(log_slope)))


def natural_4pl(dilution: Array, base: float, top: float, middle: float, slope: float) -> Array:
    """ln of the same model as notebooks have it: bottom, top, EC50 and slope as they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.log(base + (top - base) / (1 + (dilution / middle) ** slope))


def notebook_fit(series: Series) -> float:
    """Sum of squares of curve_fit in natural parameters, all above 0, from a start taken from the data."""
    dilution, height = np.minimum(series.dilution, 1e30), np.log(series.mfi)
    start = [series.mfi.min(), series.mfi.max(), float(np.median(series.tested)), 1.0]
    found, covariance = curve_fit(natural_4pl, dilution, height, p0=start, bounds=(1e-9, np.inf))
    assert not math.isnan(covariance[2, 2])
    return float(((natural_4pl(dilution, *found) - height) ** 2).sum())


def scipy_fit(series: Series, bounded: bool) -> float:
    """Sum of squares of scipy's fit, after the limits of its midpoint were computed; raises where it fails."""
    low, high = limits_of(series, "4pl").T
    start = [series.mfi.min(), math.log(np.ptp(series.mfi)), float(np.log(series.tested).mean()), 0.0]
    bounds = {"bounds": (low, high), "p0": np.clip(start, low + 1e-6, high - 1e-6)} if bounded else {"p0": start}
    dilution = np.minimum(series.dilution, 1e30)
    found, covariance = curve_fit(log_4pl, dilution, np.log(series.mfi), **bounds)
    half = stdtrit(len(series.mfi) - 4, 0.975) * math.sqrt(covariance[2, 2])
    assert not math.isnan(half)
    return float(((log_4pl(dilution, *found) - np.log(series.mfi)) ** 2).sum())


def compare(name: str, fit: Callable[[Series], float], batch: list[Series], ours: list[float]) -> None:
    """Print what one way of fitting took, where it failed and where it ended worse or better than ours."""
    begin = time.perf_counter()
    failed = worse = better = 0
    for series, best in zip(batch, ours, strict=True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                warnings.simplefilter("ignore", OptimizeWarning)
                loss = fit(series)
        except (RuntimeError, ValueError):
            failed += 1
            continue
        worse += not loss <= best * 1.0001
        better += loss < best / 1.0001
    share = [f"{100 * k / len(batch):.1f} %" for k in (failed, worse, better)]
    print(f"{name:<38}{time.perf_counter() - begin:>8.2f}{share[0]:>10}{share[1]:>10}{share[2]:>10}")


def main() -> None:
    """Run all and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=0.08)
    options = parser.parse_args()
    batch = simulated(options.curves, options.noise)
    fit_curves(batch[:2], "4pl")  # imports
    print(f"{options.curves} curves of {len(LADDER)} points, 4pl, noise {100 * options.noise:g} %")
    print(f"{'':<38}{'seconds':>8}{'failed':>10}{'worse':>10}{'better':>10}")
    begin = time.perf_counter()
    fits = fit_all(batch, "4pl", "1/y2")
    print(f"{'aqp4flow, the fits alone':<38}{time.perf_counter() - begin:>8.2f}")
    begin = time.perf_counter()
    curves = fit_curves(batch, "4pl")
    failed = sum(curve is None or not fit.settled for (curve, _), fit in zip(curves, fits, strict=True))
    spent = time.perf_counter() - begin
    print(f"{'aqp4flow, limits, off-curve search':<38}{spent:>8.2f}{100 * failed / len(batch):>8.1f} %")
    ours = [fit.rss for fit in fits]
    compare("scipy curve_fit, natural parameters", notebook_fit, batch, ours)
    compare("scipy curve_fit, same limits", lambda series: scipy_fit(series, bounded=True), batch, ours)
    compare("scipy curve_fit, no limits", lambda series: scipy_fit(series, bounded=False), batch, ours)


if __name__ == "__main__":
    main()
