"""Theme: the five group colors, the Gradio theme, and the page's CSS and scripts.

Meta Tokens form nested groups, five with our budgets. Each group has one shade everywhere: on the dial, in
score bars, along the matrix's margins. Lightness increases with the group, so that shades keep their order
without color vision and in grayscale print. Other numbers of groups: `views/budget_dial.py` `ramp`.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

WEB = Path(__file__).resolve().parent / "web"

FONTS = (
    "-apple-system",
    "Segoe UI Variable Text",
    "Segoe UI",
    "Roboto",
    "Ubuntu",
    "Cantarell",
    "Noto Sans",
    "Liberation Sans",
    "Arial",
    "sans-serif",
)
MONO_FONTS = ("ui-monospace", "SF Mono", "Cascadia Mono", "Liberation Mono", "monospace")

# One hue path, indigo to lime; lightness L* 20, 36, 50, 62, 74 in light mode and 50, 62, 71, 80, 90 in dark.
SHADES_LIGHT = ("#27276b", "#2c5596", "#1f8093", "#35a47c", "#93bd45")
SHADES_DARK = ("#6d70e0", "#5b9be8", "#46b7cf", "#62d3a6", "#cdec8b")


def css() -> str:
    """The style sheet: the shades of both modes, then the files of web/."""
    shades = "".join(
        f"{where} {{ " + " ".join(f"--shade-{i}: {c};" for i, c in enumerate(colours, 1)) + " }\n"
        for where, colours in ((":root", SHADES_LIGHT), (".dark", SHADES_DARK))
    )
    files = ["page", "search", "documents", "charts", "explanation", "storage"]
    files += ["budget_sheet", "landing", "map"]
    return shades + "\n".join((WEB / f"{name}.css").read_text("utf-8") for name in files)


def head() -> str:
    """Scripts for <head>: light or dark mode before the first paint, and what all regions share."""
    names = ["theme_early", "shared", "address", "once", "direct_events", "keys", "lightbox", "plots"]
    names += ["figure_download", "motion", "landing"]
    return "".join(f"<script>{script(f'{name}.js')}</script>" for name in names)


def script(name: str) -> str:
    """The script web/`name`, for the head or a component's `js_on_load`."""
    return (WEB / name).read_text("utf-8")


def theme() -> gr.themes.Base:
    """Gradio's controls in the page's colors (custom properties of web/page.css)."""
    hair, ink, muted = "var(--hair)", "var(--ink)", "var(--muted)"
    look = gr.themes.Base(
        font=[gr.themes.Font(name) for name in FONTS],
        font_mono=[gr.themes.Font(name) for name in MONO_FONTS],
        text_size=gr.themes.sizes.text_lg,
        radius_size=gr.themes.sizes.radius_sm,
        spacing_size=gr.themes.sizes.spacing_md,
    )
    both = {
        "body_background_fill": "var(--paper)",
        "body_text_color": ink,
        "body_text_color_subdued": muted,
        "background_fill_primary": "var(--paper)",
        "background_fill_secondary": "var(--well)",
        "block_background_fill": "transparent",
        "block_border_color": hair,
        "block_label_text_color": muted,
        "block_title_text_color": ink,
        "block_info_text_color": muted,
        "border_color_primary": hair,
        "border_color_accent": "var(--accent)",
        "color_accent_soft": "var(--well)",
        "input_background_fill": "var(--paper)",
        "input_background_fill_focus": "var(--paper)",
        "input_border_color": "var(--edge)",
        "input_border_color_focus": "var(--accent)",
        "input_placeholder_color": muted,
        "button_primary_background_fill": ink,
        "button_primary_background_fill_hover": "var(--ink-soft)",
        "button_primary_text_color": "var(--paper)",
        "button_primary_text_color_hover": "var(--paper)",
        "button_secondary_background_fill": "transparent",
        "button_secondary_background_fill_hover": "var(--well)",
        "button_secondary_border_color": "var(--edge)",
        "button_secondary_text_color": ink,
        "button_secondary_text_color_hover": ink,
        "slider_color": "var(--accent)",
        "link_text_color": "var(--accent)",
    }
    plain = {
        "color_accent": "var(--accent)",
        "block_border_width": "0px",
        "block_shadow": "none",
        "block_label_shadow": "none",
        "block_padding": "0px",
        "input_shadow": "none",
        "input_shadow_focus": "none",
        "button_secondary_shadow": "none",
        "button_primary_shadow": "none",
        "form_gap_width": "0px",
        "layout_gap": "16px",
    }
    return look.set(**plain, **both, **{f"{name}_dark": value for name, value in both.items()})
