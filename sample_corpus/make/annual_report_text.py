"""What the annual report says. All invented; figures that stand only in a chart are in annual_report.py."""

from __future__ import annotations

LETTER = (
    "Dear shareholders,",
    "an umbrella is bought in four minutes by somebody who is already wet. For most of our history we have built the "
    "business around those four minutes: a hook by the till, a bright handle, a price that does not hurt. In 2024 we "
    "began to ask what happens to the thing afterwards.",
    "The answer was unflattering. Of a thousand umbrellas that we bought back from the public in spring, six in ten had been thrown "
    "away because of one bent rib, a part that costs us eleven cents. We now sell that rib. Since September every "
    "shop carries a drawer of spares, and whoever can thread a needle can have an umbrella back in service before the "
    "shower is over. Some of you warned that we would mend ourselves out of a market. So far the opposite is true: "
    "people who come in for a rib leave with a raincoat.",
    "It was also the year in which we bought Marsh & Daughter, the oilskin makers of Port Selmar. We paid 9.4 million euro, a "
    "quarter of it in shares. Their forty-one sewers have stayed, and so has their founder's rule that nobody leaves "
    "the cutting table with an unfinished sleeve.",
    "Not everything went well. The warehouse at Dunmore stood under forty centimetres of water in February, which "
    "in our trade invites jokes. I have heard all of them. Insurance met the loss of stock, but not the eleven weeks "
    "in which we shipped from tents.",
    "The board proposes a dividend of 1.15 euro a share, ten cents more than last year. I thank everyone who works for "
    "this company, and I wish you the weather that you need.",
)
REGIONS = (
    "Home sales recovered after the dry summer of 2023 and passed their old peak. Growth came from the north: since we opened "
    "in Bergen and Gothenburg, Scandinavia has overtaken the British Isles, which had been our second market "
    "for as long as there have been records. Rain alone does not explain it. Shops there sell fewer pieces at higher "
    "prices, and seven in ten customers ask for the long model.",
    "In the Alpine countries a wholesaler's bankruptcy cost us the autumn season; from January we deliver to shops "
    "directly. Overseas trade, still small, is mostly Japan, where the transparent Dome has become something of a "
    "fashion among schoolgirls. We did not plan this and are careful not to spoil it.",
    "The chart shows net sales by market in both years, in millions of euro. For 2025 we expect the order of the "
    "first three to remain as it is.",
)
PRODUCTS = (
    "Long umbrellas remain what we are known for, and pocket models what most people carry. What has changed is the rest. "
    "Raincoats, until now a sideline, became a division of their own with the purchase of Marsh & Daughter. "
    "Repairs and spare parts appear in the accounts for the first time: a small slice, but the only one that earns "
    "its keep in dry months.",
    "Parasols had a poor year. Two beach towns ended their contracts in favour of fixed awnings, and we wrote off "
    "the moulds for the Lido series. We shall keep the garden models, which sell steadily to the over-sixties, "
    "and close the line for hotels.",
    "The average umbrella of ours now lasts 7.3 years, measured by the serial numbers that return to our workshops. Ten years "
    "ago it was 4.1. We mean to reach ten.",
)
FACTORY = (
    "Both factories together finished three million pieces. The line shows how unevenly: the flood at "
    "Dunmore halved output in late winter, and it took until early summer to catch up with orders.",
    "In July we replaced the riveting machines of 1988. The new ones check every joint by sound: a good rivet "
    "rings, a loose one clicks. Returns under guarantee fell from nineteen to eight in a thousand, and two operators who "
    "had done the listening by ear for decades now train the apprentices.",
    "Canopy cloth comes from a single mill in Prato. We have begun to qualify a second one, in Guimarães, so that a "
    "strike, a fire or a holy day no longer decides whether we can deliver in November.",
)
PEOPLE = (
    "At the end of the year 742 people worked for Hallam & Reed, 63 more than the year before; forty-one of them came with "
    "Marsh & Daughter. One in three is over fifty. The average member of staff has been with us for eleven years and "
    "lives nine kilometres from work.",
    "Night shifts were abolished in May after a trial in which output hardly moved while sick leave dropped by a fifth. "
    "There were four accidents that led to absence, all of them with cutting tools. None was grave. Guards with a "
    "light barrier are now fitted to every table.",
    "Women hold 46 per cent of all posts and 38 per cent of those with responsibility for others. The gap in pay for equal work, "
    "checked each March by an outside firm, stands at 1.2 per cent.",
    "Fourteen apprentices began in August: five in mechanics, four in sewing, three in the office and two, a novelty, in repairs.",
)
PLANET = (
    "Our largest burden is cloth. Since 2022 we have been replacing new polyester by yarn from discarded fishing nets; "
    "the share is read off the chart. The recycled yarn costs 18 per cent more and fades a little sooner, which we "
    "tell customers on the label.",
    "The works at Hallam Bridge has drawn its heat from the river since November: a pump takes three degrees out of "
    "the water and warms the halls to nineteen. Gas is kept for the hardest frost. At Port Selmar, linseed oil "
    "has replaced the last solvent-based proofing.",
    "Packaging shrank to a paper band. We no longer fly goods, with the exception of replacement handles for one "
    "orchestra, which had been promised for the opening night.",
)
RISKS = (
    ("Risk", "Likelihood", "Damage", "What we do about it"),
    ("Two dry summers in a row", "medium", "high", "Grow raincoats and repairs; hold six months' cash"),
    ("Failure of the cloth mill in Prato", "low", "very high", "Second mill from 2026; ten weeks of stock"),
    ("Flood at Dunmore", "medium", "medium", "Racks raised by 60 cm; flood gate ordered"),
    ("Counterfeits sold online", "high", "low", "Serial number woven into the strap; one lawyer"),
    ("Dollar rises above 1.05", "medium", "low", "Half a year's steel bought forward"),
    ("Break-in to computer systems", "medium", "high", "Separate network for machines; drill each quarter"),
    ("Loss of key craftspeople", "high", "medium", "Every skill held by at least three people"),
)
RISK_TEXT = (
    "The board looks at risks twice a year, in March and in October, and ranks each by how likely it is and how much it "
    "could hurt. Seven were judged serious enough to be printed here. A year ago there were nine; the energy "
    "contract and the lease of the Oxford Street shop have been settled since.",
    "The risk we lose sleep over is also the least likely. If the mill stopped, we could make umbrellas "
    "for ten weeks and apologies after that. Qualifying a second supplier takes two years, because a canopy must "
    "survive five thousand openings and three winters on our roof before it may carry our name.",
)
INCOME = (
    ("in thousands of euro", "Note", "2024", "2023"),
    ("Net sales", "3", "83,610", "71,340"),
    ("Cost of materials", "4", "-31,870", "-27,660"),
    ("Wages and social security", "5", "-27,940", "-24,810"),
    ("Depreciation", "6", "-3,480", "-3,120"),
    ("Freight and warehousing", "", "-4,930", "-3,890"),
    ("Advertising", "", "-2,760", "-2,905"),
    ("Other expenses", "7", "-4,115", "-3,740"),
    ("Compensation for flood damage", "8", "1,260", "–"),
    ("Operating profit", "", "9,775", "5,215"),
    ("Interest", "9", "-612", "-388"),
    ("Profit before tax", "", "9,163", "4,827"),
    ("Income tax", "10", "-2,291", "-1,207"),
    ("Profit for the year", "", "6,872", "3,620"),
    ("Earnings per share, euro", "11", "2.34", "1.23"),
)
BALANCE = (
    ("in thousands of euro", "Note", "31 Dec 2024", "31 Dec 2023"),
    ("Land and buildings", "12", "14,220", "12,905"),
    ("Machinery", "12", "9,870", "7,140"),
    ("Goodwill", "13", "4,310", "–"),
    ("Inventories", "14", "17,460", "18,220"),
    ("Trade receivables", "15", "10,380", "9,060"),
    ("Cash", "", "6,930", "8,475"),
    ("Total assets", "", "63,170", "55,800"),
    ("Share capital", "16", "5,880", "5,700"),
    ("Reserves", "", "27,654", "21,882"),
    ("Bank loans", "17", "13,500", "12,400"),
    ("Pensions", "18", "5,316", "5,428"),
    ("Trade payables", "", "8,020", "7,770"),
    ("Provisions and tax", "19", "2,800", "2,620"),
    ("Total equity and liabilities", "", "63,170", "55,800"),
)
NOTES = (
    "<b>Note 8.</b> The insurer of the Dunmore warehouse paid 1,260 thousand euro for ruined stock in August. Loss of "
    "trade during the eleven weeks of makeshift shipping was not covered.",
    "<b>Note 13.</b> Goodwill is what was paid for Marsh & Daughter beyond the worth of its premises, machines and "
    "orders. It is tested for impairment every December and was found intact.",
    "<b>Note 17.</b> Of the loans, 4,000 thousand euro fall due in June 2026; the remainder runs until 2031 at a fixed 3.4 per cent.",
)
BOARD = (
    ("Name", "Office", "Since", "Meetings", "Pay, euro"),
    ("Henrietta Reed", "Chair of the board", "2017", "8 of 8", "64,000"),
    ("Casper Lindgren", "Chief executive", "2020", "8 of 8", "342,000"),
    ("Dr. Oyelaran Bello", "Finance", "2022", "8 of 8", "268,000"),
    ("Mary Marsh", "Oilskins (from May)", "2024", "5 of 5", "121,000"),
    ("Tomoko Arai", "Independent", "2019", "7 of 8", "38,000"),
    ("Piet Vandersteen", "Elected by the staff", "2021", "8 of 8", "38,000"),
)
CALENDAR = (
    ("14 March 2025", "Annual report published"),
    ("29 April 2025", "General meeting, Assembly Rooms, Hallam Bridge, 11 o'clock"),
    ("6 May 2025", "Payment of the dividend"),
    ("21 August 2025", "Half-year figures"),
    ("13 November 2025", "Open day at the repair workshop"),
)
AUDIT = (
    "We have audited the accounts of Hallam & Reed for the year that ended on 31 December 2024. In our opinion they give a true "
    "and fair view. We draw attention to inventories, whose worth depends on how much it rains, and found "
    "the directors' assumptions cautious.",
    "<i>Quill, Abara & Partners, Port Selmar, 7 March 2025</i>",
)
