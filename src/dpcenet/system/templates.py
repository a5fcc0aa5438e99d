"""HTML pages from the package's templates."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, **values: object) -> str:
    """Fill in a template of `assets/templates`; what is filled in is escaped.

    Raises:
        jinja2.UndefinedError: the template names a value that is not given.
    """
    loader = PackageLoader("dpcenet", "assets/templates")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return pages.get_template(template).render(values)
