"""Drop-and-restore written out the slow way, one example at a time, on upstream BERT's own modules."""

import math

import torch


def reference_states(
    bert, scorers, inputs, length_config, importance, keep_cls=True, protect=False, until=None, early_until=0
):
    """Final states of each example's real tokens: a list of `(length, H)`, and the kept positions of each example."""
    finals, kept = [], []
    for row in range(inputs["input_ids"].shape[0]):
        real = [i for i, m in enumerate(inputs["attention_mask"][row].tolist()) if m]
        ids = inputs["input_ids"][row, real][None]
        types = inputs["token_type_ids"][row, real]
        positions = torch.tensor(real)[None]
        states = bert.embeddings(input_ids=ids, token_type_ids=types[None], position_ids=positions)[0]
        n = len(real)
        has_second = bool((types == 1).any())
        question = [i for i in range(n) if types[i] == 0] if has_second else []
        final, alive = states.clone(), list(range(n))
        for index, layer in enumerate(bert.encoder.layer):
            entry = length_config[index]
            budget = entry if isinstance(entry, int) else math.ceil(round(entry * n, 4))
            budget = min(len(alive), max(2, budget))
            attention = layer.attention.self
            x = states[alive]
            heads = attention.num_attention_heads
            q, k, v = (
                projection(x).view(len(alive), heads, -1).transpose(0, 1)
                for projection in (attention.query, attention.key, attention.value)
            )
            probabilities = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1)  # heads, queries, keys
            context = (probabilities @ v).transpose(0, 1).reshape(len(alive), -1)
            entered, x = x, layer.attention.output(context, x)
            if importance == "learned":
                scores = learned_scores(scorers[index], entered if index < early_until else x, alive, question)
            else:
                voters = {"all": list(range(n)), "question": question, "cls": [0]}[importance]
                rows = [slot for slot, token in enumerate(alive) if token in voters] or list(range(len(alive)))
                scores = probabilities[:, rows].sum(dim=(0, 1)).tolist()
            given_up = protect and until is not None and index >= until
            first = first_tokens(alive, keep_cls, protect and not given_up, question)
            last = [t for t in alive if given_up and t in question and t not in first]
            rest = sorted((t for t in alive if t not in first + last), key=lambda t: -scores[alive.index(t)])
            chosen = sorted((first + rest + last)[:budget])
            x = layer.feed_forward_chunk(x[[alive.index(t) for t in chosen]][None])[0]
            alive = chosen
            states = states.clone()
            states[alive] = x
            final[alive] = x
        finals.append(final)
        kept.append(alive)
    return finals, kept


def first_tokens(alive, keep_cls, protect, question):
    """Tokens that are protected."""
    return [t for t in alive if (keep_cls and t == 0) or (protect and t in question)]


def learned_scores(scorer, x, alive, question):
    """The token's own unit, and for every window the best match of each question token, weighted and summed."""
    scores = (x @ scorer.unit.weight.T + scorer.unit.bias)[:, 0].tolist()
    if not scorer.rank:
        return scores
    terms = [slot for slot, token in enumerate(alive) if token in question]
    others = [slot for slot, token in enumerate(alive) if token not in question]
    for slot in range(len(alive)):
        for term in terms:
            query = scorer.query.weight @ x[term]
            for index, window in enumerate(scorer.windows):
                best = 0.0
                for near in others:
                    if abs(near - slot) <= window:
                        key = scorer.key.weight @ x[near]
                        cosine = float(key @ query / key.norm() / query.norm())
                        best = max(best, 1 / (1 + math.exp(float(scorer.threshold) - float(scorer.slope) * cosine)))
                weight = float(scorer.term_weight.weight[index] @ x[term] + scorer.term_weight.bias[index])
                scores[slot] += best * math.log1p(math.exp(weight))
    return scores
