"""The words in Figures 1 to 4, in English and Japanese."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_WORDS: dict[str, tuple[str, str]] = {
    "months": ("months from baseline", "ベースラインからの月数"),
    "patients": ("patients", "患者"),
    "patient": ("a patient", "各患者"),
    "reactivity-title": ("Anti-{antigen} reactivity", "抗{antigen}抗体の反応性"),
    "titer": ("titer (interpolated at the cut-off)", "抗体価（カットオフで補間）"),
    "titer-short": ("titer", "抗体価"),
    "units": ("{unit}", "{unit}"),
    "delta": ("delta (MFI)", "ΔMFI"),
    "ratio": ("ratio of MFI", "MFI比"),
    "index": ("IgG binding index", "IgG結合指数"),
    "median": ("median", "中央値"),
    "quartiles": ("quartiles", "四分位範囲"),
    "limits": ("95 % limits", "95 %信頼限界"),
    "bounded": ("known only as a bound", "測定範囲外（矢印の向き）"),
    "within": ("within the assay's error of baseline", "ベースラインから測定誤差内"),
    "other-plate": ("other plate than baseline", "ベースラインと別のプレート"),
    "fell": ("fell beyond the assay's error", "測定誤差を超える低下"),
    "rose": ("rose beyond the assay's error", "測定誤差を超える上昇"),
    "reactivity": ("reactivity", "反応性"),
    "below": ("below the cut-off at 1:{dilution}", "1:{dilution}でカットオフ未満"),
    "cut-off": ("cut-off", "カットオフ"),
    "cut-offs": ("cut-offs of the plates", "各プレートのカットオフ"),
    "dose": ("dose", "投与"),
    "relapse": ("relapse", "再発"),
    "doses-a-month": ("doses\na month", "投与数\n/月"),
    "relapses-a-month": ("relapses\na month", "再発数\n/月"),
    "observed": ("observed", "観察期間"),
    "course-title": ("Course of each patient", "各患者の経過"),
    "sheet": ("sheet {number} of {count}", "{number}/{count}枚目"),
    "rate-title": ("Annualised relapse rate", "年間再発率"),
    "rate": ("relapses a patient-year", "再発回数（人年あたり）"),
    "before": ("before", "治療前"),
    "after": ("after", "治療後"),
    "person-years": ("{relapses} relapses in\n{years} patient-years", "再発{relapses}回\n{years}人年"),
    "mean-sem": ("mean ± SEM of the patients' rates (n = {n})", "患者ごとの再発率：平均 ± SEM（n = {n}）"),
    "own-rates": ("the patients' own rates (n = {n})", "患者ごとの再発率（n = {n}）"),
    "pooled": ("pooled, exact Poisson\n95 % limits", "全患者（ポアソン分布の\n正確な95 %信頼限界）"),
    "ratio-of-rates": ("rate ratio {ratio} ({limits} {low} to {high})", "率比 {ratio}（{limits} {low}～{high}）"),
    "symptoms-title": ("Pain and fatigue", "疼痛と疲労"),
    "pain": ("pain (NRS)", "疼痛（NRS）"),
    "fatigue": ("fatigue (NRS)", "疲労（NRS）"),
    "mean-sd": ("mean ± SD", "平均 ± SD"),
    "smallest": ("smallest attainable p", "到達しうる最小のp"),
    "adjusted": ("adjusted p", "補正p"),
    "primary": ("primary", "主要"),
    "signed-rank": ("signed-rank test", "符号順位検定"),
    "paired-t": ("paired t test", "対応のあるt検定"),
    "rank-sum": ("rank-sum test", "順位和検定"),
    "friedman": ("Friedman test", "フリードマン検定"),
    "dunn": ("Dunn test", "ダン検定"),
    "poisson": ("Poisson test", "ポアソン検定"),
    "mixed-model": ("mixed model", "混合モデル"),
    "censored-model": ("censored model", "打ち切りモデル"),
    "bootstrap-test": ("bootstrap by patient", "患者単位のブートストラップ"),
    "exact": ("exact", "正確"),
    "permutation": ("permutation", "並べ替え"),
    "bootstrap": ("bootstrap", "ブートストラップ"),
    "asymptotic": ("asymptotic", "漸近"),
    "model": ("by the model", "モデルによる"),
}


@dataclass(frozen=True)
class Labels:
    """Words of one language; a key without words stands for itself."""

    language: Literal["en", "ja"]

    def __call__(self, key: str, **values: object) -> str:
        """The label of this key with its values filled in."""
        words = _WORDS.get(key)
        return words[self.language == "ja"].format(**values) if words else key
