"""Conversations as text: the chat template, and a fast renderer that is checked against it.

Decides how a conversation becomes training text.  `turn_texts` gives, for every turn, the text before
the model speaks and the text the model must write; `main_text` the whole conversation as later turns see it.
"""
import os

TEMPLATE = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat_template.jinja"), encoding="utf-8").read().rstrip("\n")


def render(messages, add_generation_prompt=False, enable_thinking=None):
    """The text of a list of messages, by the Jinja template with the settings Hugging Face uses."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    values = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    return environment.from_string(TEMPLATE).render(messages=messages, add_generation_prompt=add_generation_prompt, **values)


def messages_of(conversation, turns):
    """The messages of the first `turns` turns."""
    messages = [{"role": "system", "content": conversation["system"]}] if conversation["system"] else []
    for turn in conversation["turns"][:turns]:
        messages.append({"role": "user", "content": turn.user})
        messages.append({"role": "assistant", "content": turn.answer, "reasoning_content": turn.reasoning})
    return messages


def turn_texts(conversation):
    """For each turn: (everything before the model's text, the model's text, how much of that is given)."""
    done = f"<|im_start|>system\n{conversation['system']}<|im_end|>\n" if conversation["system"] else ""
    out = []
    for turn in conversation["turns"]:
        prefix = f"{done}<|im_start|>user\n{turn.user}<|im_end|>\n<|im_start|>assistant\n"
        given = "" if turn.thinking else "<think>\n\n</think>\n\n"
        said = f"<think>\n{turn.reasoning}\n</think>\n\n" if turn.thinking else given
        out.append((prefix, f"{said}{turn.answer}<|im_end|>", given))
        done = f"{prefix}{turn.answer}<|im_end|>\n"
    return out


def check(conversation):
    """Compares the fast renderer with the template for every turn of a conversation."""
    for i, (prefix, branch, _) in enumerate(turn_texts(conversation)):
        turn = conversation["turns"][i]
        messages = messages_of(conversation, i + 1)
        asked = render(messages[:-1], add_generation_prompt=True)
        assert asked == prefix, (asked, prefix)
        if turn.thinking:
            assert render(messages) == prefix + branch + "\n", (render(messages), prefix + branch)
            inline = messages[:-1] + [{"role": "assistant", "content": branch[:-len("<|im_end|>")]}]
            assert render(inline) == prefix + branch + "\n"
        else:
            assert prefix + branch == render(messages[:-1], add_generation_prompt=True, enable_thinking=False) + turn.answer + "<|im_end|>"
