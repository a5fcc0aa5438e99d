"""What can be switched in DPCENet: the readings that the paper leaves open, and our departures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from dpcenet.methods.trunk_method import TrunkOptions
from dpcenet.nn.encoder import EncoderOptions

Start = Literal["random", "registration"]
DecoderForm = Literal["plain", "added"]


@dataclass(frozen=True)
class Options(TrunkOptions):
    """What the paper leaves open, and what its ablation switches off.

    Attributes:
        encoder: trunk, its weights, its dilation, the scales used, frozen or not.
        width: D, channels of every scale after the 1x1 reduction.
        sqca: "literal" adds support values to the query's rows (1.1 as printed);
            "support_from_query" lets support rows absorb query values (its prose); or "off".
        dpce: False leaves out the dual-perspective block (Table 4): the prototypes come from F_s*.
        attention: "literal" takes the products of 1.3 as they are; "normalised" takes cosines
            times a learnt temperature.
        mask_stage: "prototype" masks only in 1.10; "input" also before attention, for each path.
        prototypes: "one" for each path (1.10), or "local", one for each cell of it.
        start: of what is trained. "random"; or "registration": the reductions are identities (as
            far as the widths agree), and SQCA begins at matching places between patients.
        alpha: where α of 1.2 starts; the paper does not say.
        temperature: where those of "normalised" attention start.
        decoder_width: channels of the decoders' residual pair; 0 averages the scales' maps.
        decoder: "plain", as printed; "added" to the mean of the scales' maps, and starting at 0.
        neighbours: support slices on either side of the chosen one that help, when predicting.
        second_look: whether slices are segmented once more through windows, when predicting.
        aligned: whether a labelled scan is aligned with the query by the trunk's cells, along z and
            in the plane, when predicting; for the trunk `own`.
        head: file of what is trained; "shipped" is that of the package, None starts anew.
        cosine_scale: factor of the cosine maps (the decoder's input, or the softmax's).
        centre: subtract the training slices' mean from trunk features.
        reverse: the query as support (1.12): the "full" mirror, "prototypes" only, or "off".
        reverse_weights: class weights of 1.12.
    """

    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    width: int = 512
    sqca: Literal["literal", "support_from_query", "off"] = "literal"
    dpce: bool = True
    attention: Literal["literal", "normalised"] = "literal"
    mask_stage: Literal["prototype", "input"] = "prototype"
    prototypes: Literal["one", "local"] = "one"
    start: Start = "random"
    alpha: float = 0.0
    temperature: float = 10.0
    decoder_width: int = 32
    decoder: DecoderForm = "plain"
    neighbours: int = 0
    second_look: bool = False
    aligned: bool = False
    head: str | None = None
    cosine_scale: float = 1.0
    centre: bool = False
    reverse: Literal["full", "prototypes", "off"] = "full"
    reverse_weights: tuple[float, float] = (1.0, 1.0)

    def without_weights(self) -> Self:
        """See `MethodOptions`: a checkpoint holds the head too."""
        return replace(super().without_weights(), head=None)
