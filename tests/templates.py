"""Chat templates that behave as those of widely used models do, in our own words.

What matters here is what each does to the prompt and to an answer that is shown to it again.
"""

from __future__ import annotations

from dataclasses import dataclass

# A run of line ends is a word of its own, as in the vocabularies of Qwen and Llama 3; in the small
# model's, the last one belongs to nothing.
LINES = r"\s*[\r\n]+| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Template:
    """A template with the tokens that it needs; ``end`` ends an answer."""

    text: str
    special: tuple[str, ...] = ()
    ordinary: tuple[str, ...] = ()
    end: str = "<|im_end|>"
    split: str | None = None


_TURN = "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
_BEGIN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

CHATML = Template("{% for m in messages %}" + _TURN + "{% endfor %}" + _BEGIN)

# The last answer is shown with its thought, an empty one where it has none; thinking is switched
# off by an empty thought in the prompt.
QWEN3 = Template(
    "{% for m in messages %}{% if m['role'] == 'assistant' and loop.last %}"
    "{% set parts = m['content'].split('</think>') %}"
    "{% set thought = parts[0].split('<think>')[-1] if parts | length > 1 else '' %}"
    "{{ '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}"
    "{{ parts[-1].lstrip('\\n') + '<|im_end|>\\n' }}"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _BEGIN + "{% if add_generation_prompt and "
    "enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}",
    ordinary=("<think>", "</think>"),
    split=LINES,
)

# The thought begins in the prompt, and an answer is shown without it.
R1 = Template(
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|Assistant|>' + m['content'].split('</think>')[-1] + '<|im_end|>' }}"
    "{% elif m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}",
    special=("<|User|>", "<|Assistant|>"),
    ordinary=("<think>", "</think>"),
)

# Every message is shown trimmed.
LLAMA3 = Template(
    "{{ '<|begin|>' }}{% for m in messages %}"
    "{{ '<|header|>' + m['role'] + '<|header_end|>\\n\\n' + m['content'] | trim + '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|header|>assistant<|header_end|>\\n\\n' }}{% endif %}",
    special=("<|begin|>", "<|header|>", "<|header_end|>", "<|eot|>"),
    end="<|eot|>",
    split=LINES,
)
