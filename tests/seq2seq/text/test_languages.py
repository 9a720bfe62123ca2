"""Which languages are written without blanks: by codes of every form, and by the text itself."""

from __future__ import annotations

import pytest

from seq2seq.text.languages import language_without_blanks, script_without_blanks

FORMS = {
    "zh": "zh ZH zh-CN zh_TW zh-Hans-CN zho chi cmn zho_Hans yue yue_Hant cn Chinese zh_CN.UTF-8",
    "ja": "ja JA ja-JP ja_XX jpn jpn_Jpan jp japanese",
    "ko": "ko ko-KR kor kor_Hang Korean",
    "th": "th TH th_TH tha tha_Thai",
    "lo": "lo lao_Laoo",
    "km": "km km-KH khm khm_Khmr",
    "my": "my my_MM mya bur mya_Mymr shn",
    "bo": "bo bod tib bod_Tibt dzo dz",
}
WITH_BLANKS = "en|xx|en-US|deu|vi|mn|ar|hi|zh-Latn|ja_Latn|zho-Cyrl|zhx|z|phones"

SENTENCES = {
    "zh": ["我们明天去北京看长城。", "他说：你好，2024 年见！"],
    "ja": ["私は昨日、東京で新しい本を買いました。", "カタカナ"],
    "th": ["ฉันอยากกินข้าวผัดที่ตลาดเมื่อวานนี้"],
    "lo": ["ຂ້ອຍຢາກໄປຕະຫຼາດມື້ນີ້"],
    "km": ["ខ្ញុំចង់ទៅផ្សារថ្ងៃនេះ"],
    "my": ["ကျွန်တော်ဈေးကိုသွားချင်တယ်"],
    "bo": ["ང་ཁྲོམ་ལ་འགྲོ་འདོད།"],
}
OTHERS = [
    "the cat sat on the mat", "die Straße", "W AH1 N", "나는 어제 학교에 갔다", "мы идём домой", "مرحبا بالعالم",
    "नमस्ते दुनिया",     "The word 学 means to learn", "", "  ", "123 456",
]  # fmt: skip


@pytest.mark.parametrize("language", FORMS)
def test_codes_of_every_form(language: str) -> None:
    assert {form: language_without_blanks(form) for form in FORMS[language].split()} == dict.fromkeys(
        FORMS[language].split(), language
    )


def test_other_codes() -> None:
    assert [code for code in ["", *WITH_BLANKS.split("|")] if language_without_blanks(code)] == []


@pytest.mark.parametrize("language", SENTENCES)
def test_scripts(language: str) -> None:
    assert script_without_blanks(SENTENCES[language]) == language
    assert script_without_blanks(SENTENCES[language] * 5000) == language


def test_other_scripts() -> None:
    assert [sentence for sentence in OTHERS if script_without_blanks([sentence])] == []
    assert script_without_blanks([]) is None
    assert script_without_blanks(OTHERS) is None
