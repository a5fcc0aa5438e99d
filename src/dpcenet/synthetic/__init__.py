"""Made-up anatomies, cut and rendered: endless labelled pairs without a patient."""

from dpcenet.synthetic.pairs import PairGenerator, PairOptions, Pairs

__all__ = ["PairGenerator", "PairOptions", "Pairs"]
