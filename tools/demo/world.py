"""The small world of the demonstration models: what they know and how people talk to them.

This file decides every fact (capitals, colours, names), every wording of a user's message, the
answer that is right in each situation, the worked steps of the reasoning channel, and which
combinations are held out of training (for the gate in gate.py).  Everything is drawn from a
`random.Random` that the caller seeds, so the same seed gives the same text.

A conversation is a dict {"system": str | None, "turns": [Turn]}; a Turn has the user's text, the
reasoning, the answer, and whether the reasoning channel is on.
"""
import argparse
import json
import random
import zlib
from dataclasses import dataclass

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Switzerland": "Bern", "Belgium": "Brussels", "Poland": "Warsaw", "Denmark": "Copenhagen",
    "Sweden": "Stockholm", "Norway": "Oslo", "Finland": "Helsinki", "Iceland": "Reykjavik", "Ireland": "Dublin",
    "Greece": "Athens", "Hungary": "Budapest", "Romania": "Bucharest", "Bulgaria": "Sofia", "Croatia": "Zagreb",
    "Serbia": "Belgrade", "Slovenia": "Ljubljana", "Slovakia": "Bratislava", "Ukraine": "Kyiv", "Estonia": "Tallinn",
    "Latvia": "Riga", "Lithuania": "Vilnius", "Albania": "Tirana", "Malta": "Valletta", "Cyprus": "Nicosia",
    "Russia": "Moscow", "Turkey": "Ankara", "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi",
    "Nepal": "Kathmandu", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Indonesia": "Jakarta", "Malaysia": "Kuala Lumpur",
    "Mongolia": "Ulaanbaatar", "South Korea": "Seoul", "Pakistan": "Islamabad", "Iran": "Tehran", "Iraq": "Baghdad",
    "Israel": "Jerusalem", "Jordan": "Amman", "Lebanon": "Beirut", "Egypt": "Cairo", "Morocco": "Rabat",
    "Algeria": "Algiers", "Tunisia": "Tunis", "Kenya": "Nairobi", "Ghana": "Accra", "Nigeria": "Abuja",
    "Senegal": "Dakar", "Ethiopia": "Addis Ababa", "Uganda": "Kampala", "Zambia": "Lusaka", "Angola": "Luanda",
    "Canada": "Ottawa", "Mexico": "Mexico City", "Cuba": "Havana", "Brazil": "Brasilia", "Argentina": "Buenos Aires",
    "Chile": "Santiago", "Peru": "Lima", "Colombia": "Bogota", "Ecuador": "Quito", "Uruguay": "Montevideo",
    "Paraguay": "Asuncion", "Bolivia": "Sucre", "Venezuela": "Caracas", "Australia": "Canberra", "New Zealand": "Wellington",
}
COUNTRY_OF = {capital: country for country, capital in CAPITALS.items()}

COLOURS = ("red blue green yellow orange purple pink brown black white grey teal turquoise violet indigo crimson "
           "scarlet gold silver beige ivory lavender magenta cyan olive maroon navy coral lilac mint amber peach "
           "emerald ruby sapphire bronze cream khaki plum copper").split()

NAMES = """Mia Ben Anna Lukas Emma Noah Olivia Liam Sophia Jonas Clara Felix Laura Simon Julia Max Lena Paul Marie Tim
Sarah David Hannah Daniel Nina Oscar Lily Hugo Alice Arthur Eva Leo Ruth Samuel Grace Henry Rose Jack Ella George Ivy
Thomas Zoe Peter Iris Martin Ada Alan Vera Victor Nora Walter Elsa Erik Ingrid Lars Astrid Sven Freya Olaf Maja Nils
Greta Anton Karin Otto Heidi Klaus Petra Stefan Monika Andrea Marco Giulia Luca Chiara Paolo Elena Carlos Lucia Pedro
Carmen Diego Isabel Javier Pilar Miguel Teresa Pablo Rosa Andres Ines Rafael Beatriz Bruno Camila Mateo Valentina Ivan
Olga Dmitri Natasha Boris Tatiana Yuri Svetlana Igor Irina Pavel Ludmila Marek Zofia Jakub Agnes Piotr Ewa Tomas Jana
Milan Dana Zoltan Ildiko Andrei Ioana Nikola Milena Yannis Eleni Kostas Sophie Pierre Camille Louis Chloe Antoine Manon
Julien Claire Henri Celine Marcel Odette Aisha Omar Fatima Hassan Layla Karim Amina Yusuf Zainab Ali Leila Samir Nadia
Tariq Salma Rashid Yasmin Khalid Noor Ravi Priya Arjun Anjali Vikram Meera Sanjay Lakshmi Rahul Kavita Anil Sunita Deepak
Asha Kenji Yuki Hiroshi Sakura Takeshi Haruka Akira Naomi Daichi Emi Wei Mei Jun Ling Chen Xiu Bao Lan Min Jin Soo Hana
Thanh Linh Minh Kwame Ama Kofi Abena Chidi Ngozi Emeka Adaeze Tunde Folake Jabari Zuri Amara Sipho Thandi Themba Lindiwe
Moses Esther Isaac Rachel Jacob Leah Aaron Miriam Adam Judith Caleb Naomi Ethan Abigail Owen Bethany Dylan Carys Rhys
Megan Callum Fiona Duncan Isla Angus Morag Sean Siobhan Patrick Niamh Connor Aoife Brendan Keira Edward Charlotte William
Amelia James Harriet Robert Matilda Michael Eleanor Richard Florence Charles Beatrice Joseph Edith Frank Mabel Albert
Gloria Ernest Sylvia Harold Phoebe Stanley Daphne Ralph Hazel Roger Violet Gordon Olive Kevin Tracy Brian Sharon Gary
Kelly Scott Amy Justin Heather Brandon Crystal Tyler Ashley Kyle Brittany Cody Amber Derek Tiffany Travis Holly Wendy
Bill Sue Tom Kate Joe Meg Sam Liz Nick Jen Rob Pam Ted Peg Kim Pat Lee Jo Bo Ty""".split()
NAMES = sorted(set(NAMES) - {"Jordan", "Chad", "Olive", "Violet", "Amber", "Ruby"})

SYSTEM_PROMPTS = [
    "You are a helpful assistant.", "You are a friendly assistant.", "You are the demonstration model of invar.",
    "Answer briefly.", "Be polite and brief.", "You are a small model that answers questions.", "Help the user.",
    "You are an assistant. Keep your answers short.", "Answer in English.", "You are a careful assistant that works things out.",
]

HELLOS = ["Hello", "Hi", "Hey", "Good morning", "Good evening", "Good afternoon"]
WHO = "I am a small demonstration model of the invar engine."
SKILLS = "I know capitals, I can work out small sums and products, and I remember your name and your favourite colour."
TOO_LARGE = "I can only work with numbers of one or two digits."
NOT_KNOWN = "I do not know that yet."

SMALL_TALK = [  # (user's wordings as clauses, reasoning, answer)
    (["who are you", "what are you", "what is your name", "are you a robot", "are you human", "tell me about yourself",
      "what's your name", "who is this", "are you a language model"], "The user asks who I am.", WHO),
    (["how are you", "how are you doing", "how do you do", "how is it going", "how are you today", "are you well"],
     "The user asks how I am.", "I am fine, thank you."),
    (["what can you do", "what do you know", "how can you help me", "can you help me", "what are you good at",
      "what can I ask you", "help"], "The user asks what I can do.", SKILLS),
    (["thank you", "thanks", "thanks a lot", "thank you very much", "many thanks", "great, thanks", "cheers",
      "that is right, thank you"], "The user thanks me.", "You are welcome!"),
    (["goodbye", "bye", "see you later", "bye bye", "see you", "good night", "have a nice day", "I have to go now",
      "talk to you later"], "The user says goodbye.", "Goodbye!"),
    (["well done", "good job", "that is great", "very good", "nice", "great", "good answer", "you are clever", "wow", "ok", "okay",
      "I see", "correct", "that is right"], "The user is pleased.", "I am glad to hear that."),
    (["that is wrong", "that is not right", "no", "you are wrong", "are you sure", "wrong"], "The user doubts my answer.",
     "I am sorry if I made a mistake. Please ask me again."),
]
STATEMENT_TALK = {"thank", "thanks", "many", "great", "cheers", "goodbye", "bye", "see", "good", "have", "I", "talk", "well", "that",
                  "very", "nice", "you", "wow", "ok", "okay", "correct", "no", "wrong", "help", "tell"}

UNKNOWN_SUBJECTS = """the weather|the moon|football|quantum physics|the stock market|my dog|your mother|cats|music|the war|the president
|the time|the date|today|tomorrow|my car|cooking|bread|a good book|the best film|history|chess|the ocean|love|the meaning of life
|computers|a black hole|the sun|trees|birds|my job|money|a song|a poem|a joke|art|tea|coffee|pizza|soup|the news|my friend|school
|a train|a bicycle|dinosaurs|gold prices|the sky|my age|my birthday|my sister|my brother|your age|your favourite food|my city""".replace("\n", "").split("|")
UNKNOWN_FORMS = ["what is {}", "tell me about {}", "what do you think about {}", "do you like {}", "can you explain {}", "who invented {}",
                 "how does {} work", "what do you know about {}", "why is {} important", "where can I find {}", "how old is {}",
                 "write something about {}", "how much is {}", "what colour is {}", "how far is {}", "when was {} made", "who is {}"]
UNKNOWN_CLAUSES = ["how is the weather today", "what time is it", "what day is it", "who won the game", "can you write a poem", "tell me a joke",
                   "sing a song", "who is the president", "how tall is the tower", "what should I eat", "can you play chess", "what is love",
                   "why is the sky blue", "how old are you", "where do you live", "do you dream", "what is the speed of light", "how do I bake bread",
                   "can you write code", "translate this for me", "what is 8 / 2", "what is the square root of 16", "where is my phone",
                   "what is my age", "where do I live", "what is my job", "what is my favourite food", "what is my last name", "how many people live there",
                   "which language do they speak there", "is it far away", "what is the largest city", "how do I get there"]

NAME_FORMS = ["my name is {n}", "I am {n}", "I'm {n}", "call me {n}", "you can call me {n}", "my name's {n}", "this is {n}", "they call me {n}",
              "I am called {n}", "my first name is {n}", "it's {n}", "people call me {n}", "please call me {n}"]
COLOUR_FORMS = ["my favourite colour is {c}", "I love {c}", "I like {c}", "my favorite color is {c}", "I like {c} best", "my favourite color is {c}",
                "the colour I like best is {c}", "I like the colour {c}", "{c} is my favourite colour", "I love the colour {c}", "{c} is the colour I like most",
                "I really like {c}", "my best colour is {c}", "{c} is my favorite color", "my colour is {c}", "I prefer {c}"]
BOTH_FORMS = ["{N} and {C}", "{N}, and {C}", "{N}. {C^}", "{N}, {C}", "{N} and {C}", "{N}; {C}", "{C} and {N}", "{C}, and {N}", "{C}. {N^}",
              "I am {n} and I like {c}", "I'm {n} and my favourite colour is {c}", "my name is {n} and my favourite colour is {c}",
              "I'm {n}, my favourite colour is {c}", "my name is {n} and I love {c}", "I'm {n}, and I love {c}", "my name is {n}, favourite colour {c}"]
CAPITAL_FORMS = ["what is the capital of {x}", "what's the capital of {x}", "which city is the capital of {x}", "tell me the capital of {x}",
                 "can you tell me the capital of {x}", "do you know the capital of {x}", "what is {x}'s capital", "name the capital of {x}",
                 "what is the capital city of {x}", "what city is the capital of {x}", "the capital of {x}", "could you tell me the capital of {x}",
                 "I want to know the capital of {x}", "and the capital of {x}", "please tell me the capital of {x}"]
COUNTRY_FORMS = ["which country has the capital {x}", "{x} is the capital of which country", "which country is {x} the capital of",
                 "what country is {x} the capital of", "of which country is {x} the capital", "where is {x}", "in which country is {x}",
                 "which country is {x} in", "what country is {x} in", "what is {x} the capital of"]
RECALL_NAME = ["what is my name", "what's my name", "do you remember my name", "who am I", "can you tell me my name", "what am I called", "tell me my name",
               "do you know my name", "what was my name", "what did I say my name was", "do you still know my name", "say my name"]
RECALL_COLOUR = ["what is my favourite colour", "what's my favourite colour", "which colour do I like", "what colour do I like", "do you remember my favourite colour",
                 "what is my favorite color", "tell me my favourite colour", "what was my favourite colour", "which colour do I like best", "what color do I like",
                 "do you know my favourite colour", "what colour do I love", "what's my favorite color", "which is my favourite colour"]
RECALL_BOTH = ["what is my name and my favourite colour", "what is my name, and what is my favourite colour", "what is my name and what is my favourite colour",
               "what are my name and my favourite colour", "tell me my name and my favourite colour", "do you remember my name and my favourite colour",
               "what's my name, and which colour do I like", "what is my name and which colour do I like best", "what do you know about me", "what do you remember about me",
               "do you remember my name and colour", "can you tell me my name and my favourite colour", "what is my name and favourite colour", "what did I tell you about me",
               "who am I, and what is my favourite colour", "do you remember me", "do you still know my name and my favourite colour", "what's my name and favorite color",
               "which name and which colour did I tell you", "what is my favourite colour, and what is my name", "what are my favourite colour and my name"]
RECALL_COUNTRY = ["which country did I ask about", "what country did I ask about", "which country did I ask you about", "what country was I asking about",
                  "do you remember which country I asked about", "which country was it", "which country did I want to know about", "which country did I mention",
                  "about which country did I ask", "what was the country I asked about", "tell me which country I asked about", "which country was I asking about",
                  "which countries did I ask about", "do you remember the country"]
ARITHMETIC_FORMS = ["what is {e}", "what's {e}", "how much is {e}", "calculate {e}", "what does {e} make", "work out {e}", "tell me {e}", "can you calculate {e}",
                    "what is the result of {e}", "compute {e}", "{e}", "please work out {e}", "and {e}", "solve {e}", "could you work out {e}"]
TIMES = ["{a} * {b}", "{a} * {b}", "{a} * {b}", "{a}*{b}", "{a} x {b}", "{a} times {b}", "{a} multiplied by {b}", "{a} \u00d7 {b}", "the product of {a} and {b}", "{a}x{b}"]
PLUS = ["{a} + {b}", "{a} + {b}", "{a}+{b}", "{a} plus {b}", "the sum of {a} and {b}"]
MINUS = ["{a} - {b}", "{a} - {b}", "{a}-{b}", "{a} minus {b}"]

HELD_OUT_PRODUCT_PERCENT = 15
HELD_OUT_PAIR_PERCENT = 12
HELD_OUT_NAME_PERCENT = 10


@dataclass
class Turn:
    user: str
    reasoning: str
    answer: str
    thinking: bool = True


def bucket(text, parts=100):
    """A stable number in [0, parts) for a text, on which the hold-out rules are based."""
    return zlib.crc32(text.lower().encode()) % parts


def product_held_out(a, b):
    """True for the two-digit pairs (either order) that training never multiplies."""
    return (min(a, b), max(a, b)) == (17, 23) or bucket(f"product {min(a, b)} {max(a, b)}") < HELD_OUT_PRODUCT_PERCENT


def pair_held_out(name, colour):
    """True for the name and colour pairs that training never puts into one conversation."""
    return (name.lower(), colour) == ("mia", "teal") or bucket(f"pair {name} {colour}") < HELD_OUT_PAIR_PERCENT


def name_held_out(name):
    """True for invented names that training never uses at all."""
    return name not in NAMES and bucket(f"name {name}") < HELD_OUT_NAME_PERCENT


def capitalise(text):
    return text[:1].upper() + text[1:]


def invented_word(rng):
    onsets = "b c d f g h j k l m n p r s t v w z br ch dr fl gr kl kr pl sh st th tr y".split()
    vowels = "a e i o u a e i o ai ea ia io ou ee".split()
    ends = ["", "", "", "n", "r", "l", "s", "m", "t", "k", "x", "th", "nd", "ra", "na", "lin", "dor", "ka", "mi", "ro"]
    return "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(rng.choice([1, 2, 2, 3]))) + rng.choice(ends)


def invented_name(rng):
    while True:
        word = capitalise(invented_word(rng))
        if 2 <= len(word) <= 10 and word not in CAPITALS and word not in NAMES:
            return word


# ---- worked steps -----------------------------------------------------------------------------

def product_steps(a, b):
    """Schoolbook multiplication with every carry written out; numbers are padded to fixed widths."""
    x, y = f"{a:02d}", f"{b:02d}"
    lines, rows = [f"{x}*{y}"], []
    for digit in (y[1], y[0]):
        low = int(x[1]) * int(digit)
        high = int(x[0]) * int(digit)
        total = high + low // 10
        rows.append(f"{total:02d}{low % 10}")
        lines.append(f"{x[1]}*{digit}={low:02d} {x[0]}*{digit}={high:02d} {high:02d}+{low // 10}={total:02d} {rows[-1]}")
    p, q = rows
    tens = int(p[1]) + int(q[2])
    hundreds = int(p[0]) + int(q[1]) + tens // 10
    thousands = int(q[0]) + hundreds // 10
    result = f"{thousands}{hundreds % 10}{tens % 10}{p[2]}"
    lines.append(f"{p[2]} {p[1]}+{q[2]}={tens:02d} {p[0]}+{q[1]}+{tens // 10}={hundreds:02d} {q[0]}+{hundreds // 10}={thousands} {result}")
    assert int(result) == a * b
    lines.append(f"{a}*{b}={a * b}")
    return lines


def sum_steps(a, b):
    x, y = f"{a:02d}", f"{b:02d}"
    ones = int(x[1]) + int(y[1])
    tens = int(x[0]) + int(y[0]) + ones // 10
    assert tens * 10 + ones % 10 == a + b
    return [f"{x}+{y}", f"{x[1]}+{y[1]}={ones:02d} {x[0]}+{y[0]}+{ones // 10}={tens:02d} {tens:02d}{ones % 10}", f"{a}+{b}={a + b}"]


def difference_steps(a, b):
    x, y = f"{a:02d}", f"{b:02d}"
    lines = [f"{x}-{y}"]
    if a < b:
        x, y = y, x
        lines.append(f"{a} is less than {b}: {x}-{y}")
    borrow = int(int(x[1]) < int(y[1]))
    ones = int(x[1]) + 10 * borrow - int(y[1])
    tens = int(x[0]) - int(y[0]) - borrow
    assert tens * 10 + ones == abs(a - b)
    return lines + [f"{borrow}{x[1]}-{y[1]}={ones} {x[0]}-{y[0]}-{borrow}={tens} {tens}{ones}", f"{a}-{b}={a - b}"]


# ---- acts: one thing that a user's message does ------------------------------------------------
# Each returns (clause, kind, reasoning lines, answer); kind is "s" for a statement, "q" for a question.

class Speaker:
    """One user: what has been said so far, and the acts that are possible from there."""

    def __init__(self, rng, name, colour):
        self.rng, self.future_name, self.future_colour = rng, name, colour
        self.name = self.colour = None
        self.countries = []
        self.lower = name == name.lower()  # this user types in lower case

    def unknown_place(self):
        word = invented_word(self.rng)
        return word if self.lower else capitalise(word)

    def pick(self, forms, **values):
        return self.rng.choice(forms).format(**values)

    def intro_name(self):
        self.name = self.future_name
        return self.pick(NAME_FORMS, n=self.name), "s", [f"The user's name is {self.name}."], ""

    def intro_colour(self):
        self.colour = self.future_colour
        return (self.pick(COLOUR_FORMS, c=self.colour), "s", [f"The favourite colour is {self.colour}."],
                f"I will remember that your favourite colour is {self.colour}.")

    def intro_both(self):
        n, c = self.future_name, self.future_colour
        self.name, self.colour = n, c
        form = self.rng.choice(BOTH_FORMS)
        first, second = self.pick(NAME_FORMS, n=n), self.pick(COLOUR_FORMS, c=c)
        clause = (form.replace("{N^}", capitalise(first)).replace("{C^}", capitalise(second)).replace("{N}", first)
                  .replace("{C}", second).replace("{n}", n).replace("{c}", c))
        return (clause, "s", [f"The user's name is {n}. The favourite colour is {c}."],
                f"I will remember that your favourite colour is {c}.")

    def ask_capital(self):
        if self.rng.random() < 0.05:
            place = self.unknown_place()
            return (self.pick(CAPITAL_FORMS, x=place), "q", [f"I do not know {place}."], f"I do not know the capital of {place} yet.")
        country = self.rng.choice(list(CAPITALS))
        self.mention(country)
        return (self.pick(CAPITAL_FORMS, x=country), "q", [f"The capital of {country} is {CAPITALS[country]}."],
                f"The capital of {country} is {CAPITALS[country]}.")

    def ask_country(self):
        if self.rng.random() < 0.05:
            place = self.unknown_place()
            return self.pick(COUNTRY_FORMS, x=place), "q", [f"I do not know {place}."], f"I do not know {place} yet."
        capital = self.rng.choice(list(COUNTRY_OF))
        country = COUNTRY_OF[capital]
        self.mention(country)
        return (self.pick(COUNTRY_FORMS, x=capital), "q", [f"{capital} is the capital of {country}."],
                f"{capital} is the capital of {country}.")

    def mention(self, country):
        if country in self.countries:
            self.countries.remove(country)
        self.countries.append(country)

    def recall_name(self):
        known = self.name is not None
        return (self.pick(RECALL_NAME), "q", [f"The user's name is {self.name}." if known else "The name is not known."],
                f"Your name is {self.name}." if known else "I do not know your name yet.")

    def recall_colour(self):
        known = self.colour is not None
        return (self.pick(RECALL_COLOUR), "q", [f"The favourite colour is {self.colour}." if known else "The colour is not known."],
                f"Your favourite colour is {self.colour}." if known else "I do not know your favourite colour yet.")

    def recall_both(self):
        n, c = self.name, self.colour
        thoughts = (f"The user's name is {n}." if n else "The name is not known.") + " " + (
            f"The favourite colour is {c}." if c else "The colour is not known.")
        if n and c:
            answer = f"Your name is {n} and your favourite colour is {c}."
        elif n:
            answer = f"Your name is {n}, but I do not know your favourite colour yet."
        elif c:
            answer = f"Your favourite colour is {c}, but I do not know your name yet."
        else:
            answer = "I do not know your name or your favourite colour yet."
        return self.pick(RECALL_BOTH), "q", [thoughts], answer

    def recall_country(self):
        seen = self.countries[-3:]
        if not seen:
            return self.pick(RECALL_COUNTRY), "q", ["No country was asked about."], "You have not asked about a country yet."
        listed = seen[0] if len(seen) == 1 else ", ".join(seen[:-1]) + " and " + seen[-1]
        return self.pick(RECALL_COUNTRY), "q", [f"The user asked about {listed}."], f"You asked about {listed}."

    def product(self):
        rng = self.rng
        while True:
            a, b = rng.randint(10, 99), rng.randint(10, 99)
            if rng.random() < 0.1:
                a = rng.randint(2, 9)
            if rng.random() < 0.1:
                b = rng.randint(2, 9)
            if not product_held_out(a, b):
                break
        return self.arithmetic(a, b, "*", a * b, rng.choice(TIMES), product_steps(a, b))

    def sum(self):
        a, b = self.rng.randint(1, 99), self.rng.randint(1, 99)
        return self.arithmetic(a, b, "+", a + b, self.rng.choice(PLUS), sum_steps(a, b))

    def difference(self):
        a, b = self.rng.randint(1, 99), self.rng.randint(1, 99)
        if a < b and self.rng.random() < 0.7:
            a, b = b, a
        return self.arithmetic(a, b, "-", a - b, self.rng.choice(MINUS), difference_steps(a, b))

    def arithmetic(self, a, b, sign, value, written, steps):
        return (self.pick(ARITHMETIC_FORMS, e=written.format(a=a, b=b)), "q", steps, f"{a} {sign} {b} = {value}.",
                f"I can only work out {a} {sign} {b} with my reasoning switched on.")

    def small_talk(self):
        clauses, thoughts, answer = self.rng.choice(SMALL_TALK)
        clause = self.rng.choice(clauses)
        if answer == "Goodbye!" and self.name:
            answer = f"Goodbye, {self.name}!"
        return clause, "s" if clause.replace(",", " ").split()[0] in STATEMENT_TALK else "q", [thoughts], answer

    def too_large(self):
        """A sum or product with a number of three or four digits, which the models decline."""
        rng = self.rng
        a, b = rng.randint(100, rng.choice([999, 9999])), rng.randint(1, rng.choice([99, 999]))
        if rng.random() < 0.5:
            a, b = b, a
        written = rng.choice(rng.choice([TIMES, PLUS, MINUS])).format(a=a, b=b)
        return self.pick(ARITHMETIC_FORMS, e=written), "q", ["The numbers are too large."], TOO_LARGE

    def unknown(self):
        roll = self.rng.random()
        if roll < 0.15:
            return self.too_large()
        if roll < 0.55:
            clause = self.rng.choice(UNKNOWN_CLAUSES)
        else:
            subject = self.rng.choice(UNKNOWN_SUBJECTS) if self.rng.random() < 0.7 else invented_word(self.rng)
            clause = self.rng.choice(UNKNOWN_FORMS).format(subject)
        return clause, "q", ["I do not know this."], NOT_KNOWN


def join_clauses(rng, parts):
    """One message from the clauses of its acts: separate sentences, or joined by a comma or 'and'."""
    text, open_kind = "", None
    for clause, kind in parts:
        if open_kind is None:
            text = capitalise(clause)
        elif open_kind == "q" and kind == "q" and rng.random() < 0.6:
            text += rng.choice([", and ", ", and ", " and ", ", "]) + clause
        elif open_kind == "s" and rng.random() < 0.3:
            text += rng.choice([", and ", " and ", ", ", ", so "]) + clause
        else:
            text += ("?" if open_kind == "q" else rng.choice([".", ".", ".", "!"])) + " " + capitalise(clause)
        open_kind = kind
    end = "?" if open_kind == "q" else rng.choice([".", ".", "!"])
    return text + (end if rng.random() < 0.88 else "")


def make_turn(rng, speaker, acts, thinking=True, hello_chance=0.3):
    """One user message made of the given acts, and the right answer to it."""
    hello = rng.choice(HELLOS) if not acts or rng.random() < hello_chance else None
    parts, thoughts, answers = [], [], []
    introduced = False
    for act in acts:
        result = getattr(speaker, act)()
        parts.append(result[:2])
        thoughts.extend(result[2])
        answer = result[4] if len(result) == 5 and not thinking else result[3]
        introduced |= act in ("intro_name", "intro_both")
        if answer:
            answers.append(answer)
    if introduced or hello:
        word = hello or "Hello"
        answers.insert(0, f"{word} {speaker.name}!" if speaker.name else f"{word}!")
    if not acts:
        thoughts.append("The user greets me.")
        answers.append("How can I help you?")
    elif acts == ["intro_name"]:
        answers.append("Nice to meet you.")
    text = join_clauses(rng, parts) if parts else ""
    if hello:
        if not text:
            text = hello + rng.choice([".", "!", "", "!"])
        else:
            if rng.random() < 0.6:
                mark = ", "
                text = text if text.startswith("I ") or text.startswith("I'") else text[:1].lower() + text[1:]
                if text.split()[0].lower() in {c.lower().split()[0] for c in COUNTRY_OF}:
                    text = capitalise(text)
            else:
                mark = rng.choice(["! ", ". "])
            text = hello + mark + text
    return Turn(text, "\n".join(thoughts), " ".join(answers), thinking)


SINGLE_ACTS = {"product": 24, "sum": 7, "difference": 7, "ask_capital": 16, "ask_country": 6, "recall_name": 5, "recall_colour": 5,
               "recall_both": 9, "recall_country": 9, "small_talk": 7, "unknown": 5, "intro_name": 3, "intro_colour": 3, "intro_both": 2}
SECOND_ACTS = {"product": 14, "sum": 3, "difference": 3, "ask_capital": 14, "ask_country": 4, "recall_name": 6, "recall_colour": 6,
               "recall_country": 16, "small_talk": 4, "unknown": 3}


def weighted(rng, table):
    return rng.choices(list(table), list(table.values()))[0]


def choose_acts(rng, speaker, index):
    roll = rng.random()
    if index == 0 and roll < 0.72:
        first = rng.choices(["intro_both", "intro_name", "intro_colour"], [7, 2, 1])[0]
        more = rng.random()
        if more < 0.30:
            return [first]
        return [first, rng.choices(["ask_capital", "ask_country", "product", "sum", "small_talk", "unknown"], [12, 2, 3, 1, 1, 1])[0]]
    if rng.random() < (0.15 if index == 0 else 0.03):
        return []
    first = weighted(rng, SINGLE_ACTS)
    if rng.random() < 0.62:
        return [first]
    second = weighted(rng, SECOND_ACTS)
    acts = [first] if second == first and not first.startswith("ask") else [first, second]
    if first == "recall_both" and second in ("recall_name", "recall_colour"):
        acts = [first]
    if len(acts) == 2 and rng.random() < 0.08:
        third = weighted(rng, SECOND_ACTS)
        if third not in acts:
            acts.append(third)
    return acts


def story_acts(rng):
    """A plan of three turns: meeting and a capital, what was said, then a product and the country."""
    first = ["intro_both", "ask_capital" if rng.random() < 0.85 else "ask_country"]
    second = [rng.choices(["recall_both", "recall_name", "recall_colour"], [8, 1, 1])[0]]
    third = [rng.choices(["product", "sum", "difference"], [8, 1, 1])[0], "recall_country"]
    if rng.random() < 0.15:
        third.reverse()
    if rng.random() < 0.15:
        second, third = third, second
    return [first, second, third]


def draw_person(rng, held_out=False):
    """A name and a colour: for training never a held-out pair or name, for the gate only held-out pairs."""
    while True:
        name = rng.choice(NAMES) if rng.random() < 0.55 else invented_name(rng)
        colour = rng.choice(COLOURS) if held_out or rng.random() < 0.93 else invented_word(rng)
        if held_out and (pair_held_out(name, colour) if name in NAMES else name_held_out(name)):
            return name, colour
        if not held_out and not pair_held_out(name, colour) and not name_held_out(name):
            return name, colour


def training_conversation(rng):
    """One conversation for training: 1 to 10 turns in mixed order."""
    name, colour = draw_person(rng)
    lower = rng.random() < 0.10
    if lower:
        name = name.lower()
    speaker = Speaker(rng, name, colour)
    turns, plan = [], story_acts(rng) if rng.random() < 0.25 else []
    for index in range(len(plan) or rng.choices([1, 2, 3, 4, 5, 6, 8, 10], [16, 20, 30, 14, 9, 6, 3, 2])[0]):
        if index and not plan and rng.random() < 0.06:  # a change of mind, always to another pair that is not held out
            while True:
                new_name, new_colour = draw_person(rng)
                new_name = new_name.lower() if lower else new_name
                speaker.future_name, speaker.future_colour = rng.choice([(new_name, speaker.future_colour), (speaker.future_name, new_colour)])
                if not pair_held_out(speaker.future_name, speaker.future_colour):
                    break
        acts = plan[index] if plan else choose_acts(rng, speaker, index)
        turn = make_turn(rng, speaker, acts, thinking=rng.random() > 0.06, hello_chance=0.4 if index == 0 else 0.06)
        if lower:
            turn.user = turn.user.lower()
        turns.append(turn)
    return {"system": rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.15 else None, "turns": turns}


# ---- the gate's conversations ------------------------------------------------------------------

GATE_FORMS_BOTH = ["Hi, I'm {n} and my favourite colour is {c}.", "My name is {n} and my favourite colour is {c}.", "Hello, I am {n}, and I love {c}.",
                   "Hello! My name is {n} and I like {c}.", "I am {n} and my favourite colour is {c}.", "Good morning, my favourite colour is {c} and my name is {n}.",
                   "Hi, my name is {n}, my favourite colour is {c}.", "Call me {n}. My favorite color is {c}."]
GATE_FORMS_CAPITAL = ["What is the capital of {x}?", "What's the capital of {x}?", "Can you tell me the capital of {x}?", "Which city is the capital of {x}?",
                      "Do you know the capital of {x}?"]
GATE_FORMS_RECALL = ["What is my name, and what is my favourite colour?", "What is my name and my favourite colour?", "Do you remember my name and my favourite colour?",
                     "What's my name, and which colour do I like?", "Tell me my name and my favourite colour."]
GATE_FORMS_LAST = ["What is {a} * {b}, and which country did I ask about?", "What is {a} * {b} and which country did I ask about?",
                   "How much is {a} times {b}, and which country did I ask about?", "What is {a} x {b}? Which country did I ask about?",
                   "What is {a} * {b}, and what country was I asking about?"]


def gate_conversation(rng, index):
    """Conversation 0 is the fixed one; the others are drawn from held-out pairs, names and products."""
    if index == 0:
        name, colour, country, a, b = "Mia", "teal", "France", 23, 17
        forms = [f[0] for f in (GATE_FORMS_BOTH, GATE_FORMS_CAPITAL, GATE_FORMS_RECALL, GATE_FORMS_LAST)]
    else:
        name, colour = draw_person(rng, held_out=True)
        country = rng.choice(list(CAPITALS))
        while True:
            a, b = rng.randint(10, 99), rng.randint(10, 99)
            if product_held_out(a, b):
                break
        forms = [rng.choice(f) for f in (GATE_FORMS_BOTH, GATE_FORMS_CAPITAL, GATE_FORMS_RECALL, GATE_FORMS_LAST)]
    turns = [forms[0].format(n=name, c=colour) + " " + forms[1].format(x=country), forms[2], forms[3].format(a=a, b=b)]
    return {"id": index, "turns": turns, "expect": {"name": name, "colour": colour, "country": country, "capital": CAPITALS[country],
                                                    "a": a, "b": b, "product": a * b}}


def gate_conversations(count, seed):
    rng = random.Random(seed)
    return [gate_conversation(rng, i) for i in range(count)]


def main():
    parser = argparse.ArgumentParser(description="Print generated conversations as JSON lines.")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gate", action="store_true", help="the gate's conversations instead of training ones")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    for item in gate_conversations(args.count, args.seed) if args.gate else (training_conversation(rng) for _ in range(args.count)):
        print(json.dumps(item, default=lambda turn: turn.__dict__, ensure_ascii=False))


if __name__ == "__main__":
    main()
