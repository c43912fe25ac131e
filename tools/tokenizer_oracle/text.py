"""Random strings with everything that the steps of a tokenizer treat differently: words and sentences of many scripts, some of
them mutated; characters of every plane; runs of marks, of white space, of digits, of anything; code; texts of special tokens."""
import random

WORDS = ("the of and to in Hello World function return self camelCase HTTPServer don't we'll I'M they'Ve naïve café Straße "
         "привет Мир λόγος 東京 日本語 中文字符 안녕하세요 สวัสดี नमस्ते مرحبا שלום 🙂 👩‍👩‍👧‍👦 👍🏽 🇫🇷 ❤️ ﬁ ﷺ ½ Ⅷ ① ﾊﾞ が が é é ö̲ "
         "İstanbul ΣΑΣ ǅ ſ K K 1234567890 3.14159 1,000 v1.2 0x1F --- ... !!! ?? <html> </b> {} [] () => != == ## ▁ ▁▁ Ġ Ċ â "
         "<unk> <s> </s> [INST] [/INST] [UNK] [CLS] ##ing <0x0A> <|end|> <|x|> <|im_start|> <|endoftext|> <|eot_id|> <start_of_turn> "
         "<think> 🏴‍☠️ 👨🏿‍🚀 1️⃣ ٣٤٥ १२३ ３４５ ² Ⅻ").split()

SENTENCES = [line.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r") for line in r"""The river was still when we reached it, and nobody wanted to be the first to speak.
Am Morgen lag Schnee auf den Dächern, und die Straße war leer; nur ein Hund bellte.
Le vieux marin n'a jamais su d'où venait la lumière qu'il voyait là-bas, à l'est.
Mañana iremos al mercado: ¿quieres que compremos pan, queso y tres kilos de naranjas?
Вчера вечером мы долго ждали поезд, но он так и не пришёл.
Το πλοίο έφυγε από το λιμάνι πριν από την ανατολή του ήλιου.
昨日は雨が降っていたので、家で本を読んでいました。カタカナもひらがなも漢字もあります。
今天早上我在公园里看见三只鸟，它们站在树枝上唱歌。
어제는 하루 종일 비가 와서 집에서 책을 읽었습니다.
เมื่อวานนี้ฝนตกทั้งวันเราจึงอยู่บ้านและอ่านหนังสือ
कल पूरे दिन बारिश हुई, इसलिए हम घर पर रहे और किताबें पढ़ीं।
কাল সারাদিন বৃষ্টি হয়েছে তাই আমরা বাড়িতে ছিলাম।
நேற்று நாள் முழுவதும் மழை பெய்தது.
أمطرت السماء طوال اليوم فبقينا في البيت وقرأنا الكتب.
אתמול ירד גשם כל היום ולכן נשארנו בבית וקראנו ספרים.
Dün bütün gün yağmur yağdı; İstanbul'da ışıklar söndü.
Hôm qua trời mưa cả ngày nên chúng tôi ở nhà đọc sách.
გუშინ მთელი დღე წვიმდა და სახლში დავრჩით.
Երեկ ամբողջ օրը անձրև էր, և մենք մնացինք տանը։
ትናንት ቀኑን ሙሉ ዝናብ ዘነበ።
ម្សិលមិញភ្លៀងពេញមួយថ្ងៃ។
def area(radius: float) -> float:\n    "Of a circle."\n    return 3.14159 * radius ** 2  # m^2\n
for (size_t i = 0; i < rows; ++i) {\n\tsum[i & 7] += x[i] * 0.5f; // 8 lanes\n}\r\n
SELECT name, count(*) FROM items WHERE price >= 10.50 GROUP BY name HAVING count(*) > 1;
{"id": 17, "tags": ["a", "b\\n"], "ok": true, "π": null}
<div class="x-1" style='color:#fff'>&nbsp;&amp; 100%</div>
$ git commit -m "fix: don't panic" && make -j8 2>&1 | tee /tmp/log.txt
| a | b |\n|---|---|\n| 1 | **2** |\n\n- [x] done\n    1. deeper
E = mc², ∫₀^∞ e^{-x²} dx = √π/2, ∀ε>0 ∃δ: |x−y|<δ ⇒ |f(x)−f(y)|<ε
😀😃😄 party 🎉🎉 at 8️⃣pm 🕗 with 👨‍👩‍👧‍👦 and 🐕‍🦺!!!
""".splitlines()]

SPACES = [" ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u2003", "\u2028", "\u0085", "\u200b", "", " " * 17]
RUNS = list("aA7 !\n-.'我é́\t=_ ") + ["\u0301", "\u00a0", "ab", "1,", "\r\n", "🙂", "\u200d", "\u2581", "가", "ก", "é"]


class Text:
    def __init__(self, seed, assigned, unassigned, words=()):
        self.random = random.Random(seed)
        self.assigned, self.unassigned = assigned, unassigned
        self.low = [c for c in assigned if c < 0x3100]
        self.high = [c for c in assigned if c > 0xFFFF]
        self.words = WORDS + list(words)
        self.extra = list(words)

    def character(self):
        r = self.random.random()
        if r < 0.3:
            return chr(self.random.randrange(0x20, 0x7F))
        if r < 0.55:
            return chr(self.random.choice(self.low))
        if r < 0.65:
            return chr(self.random.choice(self.high))
        return chr(self.random.choice(self.unassigned if r < 0.7 else self.assigned))

    def run(self, longest):
        """One thing many times over: mostly a few times, seldom hundreds."""
        times = self.random.randint(1, 9) if self.random.random() < 0.97 else self.random.randint(10, longest)
        return self.random.choice(RUNS) * times

    def mutated(self, sentence):
        """A piece of it with characters left out, doubled, swapped, replaced or of the other case."""
        rng, made = self.random, list(sentence)
        begin = rng.randrange(len(made))
        made = made[begin: begin + rng.randint(5, 60)]
        for _ in range(rng.choice([0, 0, 1, 2, 4])):
            at = rng.randrange(len(made))
            made[at] = rng.choice([lambda c: "", lambda c: c + c, lambda c: c.swapcase(), lambda c: self.character(), lambda c: c + self.run(40),
                                   lambda c: rng.choice(SPACES), lambda c: c + chr(rng.randrange(0x300, 0x370)), lambda c: made[-1 - at]])(made[at])
        return "".join(made)

    def string(self):
        rng, made = self.random, []
        if rng.random() < 0.2:
            made.append(self.mutated(rng.choice(SENTENCES)))
        for _ in range(rng.choice([0, 1, 2, 3, 5, 8])):
            r = rng.random()
            if r < 0.45:
                word = rng.choice(self.words)
                made.append(rng.choice([word, word, word.upper(), word.capitalize()]))
            elif r < 0.5 and self.extra:
                made.append(rng.choice(self.extra))
            elif r < 0.6:
                made.append(self.run(700))
            elif r < 0.65:
                made.append(chr(rng.randrange(0x61, 0x7B)) + "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randint(1, 4))))
            elif r < 0.7:
                made.append(self.mutated(rng.choice(SENTENCES)))
            else:
                made.append("".join(self.character() for _ in range(rng.randint(1, 6))))
            made.append(rng.choice(SPACES))
        return "".join(made)

    def not_utf8(self):
        """Bytes that are no UTF-8: surrogates by themselves or in pairs, characters cut short or too long, stray bytes."""
        while True:
            whole = bytearray(self.string().encode())
            piece = self.random.choice([chr(self.random.randrange(0xD800, 0xE000)).encode("utf-8", "surrogatepass"), b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\xaf",
                                        b"\xe0\x9f\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", "🙂".encode()[: self.random.randint(1, 3)],
                                        bytes([self.random.randrange(0x80, 0x100)])])
            at = self.random.randint(0, len(whole))
            whole[at:at] = piece
            try:
                bytes(whole).decode()
            except UnicodeDecodeError:
                return bytes(whole)
