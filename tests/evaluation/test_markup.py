import pytest

from anchorweave.evaluation.markup import Markup, element, joined, text


def test_what_is_given_is_text_and_elements_are_markup():
    inside = element("b", "<script>", " & more")
    assert inside == "<b>&lt;script&gt; &amp; more</b>"
    assert element("p", inside, 3) == f"<p>{inside}3</p>"
    assert joined("<", inside) == f"&lt;{inside}" and isinstance(joined(), Markup)
    # Markup that was joined by other means is text again: forgetting to escape is not possible.
    assert text(inside + "") == text(str(inside + "")) != inside


def test_attributes_are_escaped_and_named():
    met = element("td", class_="a", data_value='1" onclick="x', hidden=True, id=None, lang=False)
    assert met == '<td class="a" data-value="1&quot; onclick=&quot;x" hidden></td>'
    assert element("br") == "<br>"


def test_void_elements_hold_nothing():
    with pytest.raises(ValueError, match="<input> cannot have content"):
        element("input", "x")
