"""The lab's own error between wells, where a plate has no replicates to tell it."""

from __future__ import annotations

from aqp4flow.assay.quality.precision import sd_of_cv
from aqp4flow.assay.replicates import Law, ReplicateError
from aqp4flow.model import NAN, Check, Verdict

_KNOWN = 1_000_000  # degrees of freedom of a number that is taken as known
_CERTAIN = 1e12  # information about it


def error_or_declared(error: ReplicateError, well_cv: float | None) -> ReplicateError:
    """The plate's replicate error, or the CV of delta between wells (percent) that the lab declares, if there is none.

    A CV is turned into a standard deviation of the logarithm as for a log-normal law: sqrt(ln(1 + CV^2)). It is taken
    as an error of the shift, in proportion to delta, and a third of it as one of each median by itself: that is most
    of what a weak shift errs by, and no single number tells the two apart.
    """
    if error.df or well_cv is None:
        return error
    sd = sd_of_cv(well_cv)
    variance = sd**2
    of_shift = Law((variance, variance / 9), ((_CERTAIN, 0.0), (0.0, _CERTAIN)), _KNOWN)
    return ReplicateError(sd, _KNOWN, NAN, of_shift, of_shift)


def declared_checks(plate: str, error: ReplicateError, well_cv: float | None) -> list[Check]:
    """A row that says so where the declared CV stood in."""
    if error.df or well_cv is None:
        return []
    message = f"Limits hold a CV of {well_cv:g} % between wells, declared in [titer] well_cv: the plate tells none."
    return [Check("plate", plate, "well-cv-declared", well_cv, "", Verdict.PASS, message)]
