import numpy as np

from jaxtrack.evaluation import comparison, latex, metrics


def score(level):
    return metrics.SequenceScore(np.full(21, level), np.full(51, level), level, frames=10, valid_frames=10)


def result(name, *runs, **fields):
    scores = tuple({sequence: score(level) for sequence, level in run.items()} for run in runs)
    return comparison.TrackerResult(name, tuple("abcdef"[: len(runs)]), scores, **fields)


def comparing(*trackers):
    return comparison.Comparison("toy", "50% of Toy", ("A", "B"), {}, trackers)


def test_the_table_has_a_row_for_each_tracker_and_the_best_is_bold():
    text = latex.summary(
        comparing(
            result("my_net", {"A": 0.2, "B": 0.4}, {"A": 0.6, "B": 0.8}, fps={"A": 10.0, "B": 30.0}),
            result("poor", {"A": 0.1, "B": 0.2}, tuned_on="A&B"),
        )
    )
    assert r"\caption{OPE on 50\% of Toy.}" in text
    assert r"Tracker & AUC & P@20 & SR@0.5 & SR@0.6 & mean IoU & fps \\" in text
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    best = r"\textbf{0.500} {\footnotesize $\pm$ 0.283}"  # of 0.3 and 0.7
    assert body == [
        " & ".join([r"my\_net", *[best] * 5, "20.0"]) + r" \\",
        " & ".join([r"poor\textsuperscript{1}", *["0.150"] * 5, "--"]) + r" \\",
    ]
    assert text.endswith("\\end{tabular}\n\n{\\footnotesize \\textsuperscript{1} tuned on A\\&B\\par}\n\\end{table}\n")
    assert "tuned" not in body


def test_a_row_with_fewer_sequences_says_so():
    text = latex.summary(comparing(result("part", {"A": 0.9}, chosen_on="C"), result("whole", {"A": 0.1, "B": 0.1})))
    assert r"part\textsuperscript{1}, 1 of 2 sequences & 0.900" in text
    assert "are not compared with the others" in text


def test_a_row_without_sequences_has_dashes():
    assert "none, 0 of 2 sequences & -- & -- & -- & -- & -- & --" in latex.summary(
        comparing(result("none", {"C": 0.9}))
    )


def test_names_are_printed_as_they_are():
    assert latex.escape(r"a\b{c}$d&e#f%g_h^i~j<k>l") == (
        r"a\textbackslash{}b\{c\}\$d\&e\#f\%g\_h\textasciicircum{}i\textasciitilde{}j\textless{}k\textgreater{}l"
    )
    assert latex.escape("two\nlines") == "two lines"


def test_the_file_is_called_summary_tex(tmp_path):
    compared = comparing(result("a", {"A": 0.5, "B": 0.5}))
    assert latex.write_table(compared, tmp_path / "new") == [tmp_path / "new" / "summary.tex"]
    assert (tmp_path / "new" / "summary.tex").read_text() == latex.summary(compared)
