import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.web.codings import choose_coding, weights_of


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        ("", {}),
        ("br", {"br": 1.0}),
        (" gzip ; q=0.5 ,, br;Q=1.000 ", {"gzip": 0.5, "br": 1.0}),
        ("gzip;q=0.1234, br;q=1.5, zstd;q=-1, a;q=, b;x=1, c;q=1;q=0", {}),
        ("X-GZIP;q=0.", {"gzip": 0.0}),
    ],
)
def test_weights_are_read_as_the_grammar_says(field: str, accepted: dict[str, float]) -> None:
    assert weights_of([field]) == accepted


CODINGS = st.sampled_from(["br", "gzip", "zstd", "identity", "*", "deflate"])
FIELDS = st.dictionaries(CODINGS, st.integers(0, 1000))


@given(FIELDS, st.lists(st.sampled_from(["br", "gzip", "zstd"]), unique=True))
def test_the_choice_is_acceptable_and_the_best(weights: dict[str, int], offered: list[str]) -> None:
    field = ", ".join(f"{coding};q={weight / 1000:.3f}" for coding, weight in weights.items())
    chosen = choose_coding([field], offered)
    weight_of = {coding: weights.get(coding, weights.get("*", 0)) for coding in offered}
    if chosen is None:
        best = max(weight_of.values(), default=0)
        assert best == 0 or best < weights.get("identity", 0)
    else:
        assert weight_of[chosen] == max(weight_of.values()) > 0
        assert offered.index(chosen) == min(
            offered.index(coding) for coding in offered if weight_of[coding] == weight_of[chosen]
        )


@given(st.lists(st.text(st.characters(max_codepoint=255))))
def test_no_field_fails(values: list[str]) -> None:
    assert choose_coding(values, ["br", "gzip"]) in (None, "br", "gzip")
