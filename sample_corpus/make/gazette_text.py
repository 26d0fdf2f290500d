"""What the newspaper prints. All invented."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Article:
    head: str
    deck: str
    texts: tuple[str, ...]


BALLOON = Article(
    "Runaway balloon lands in bishop’s orchard",
    "No one was in the basket. The bishop has kept the picnic.",
    (
        "A hot-air balloon that had been tied to a lamp post during Sunday’s harvest fair worked itself loose shortly "
        "after four o’clock and drifted eleven kilometres down the valley before coming to rest between two pear trees "
        "behind the bishop’s residence at Lower Thornby.",
        'Its pilot, Ottilie Brandt, 52, had stepped out to photograph a newly married couple. "I heard the rope sing, '
        'and when I turned round my breakfast was already above the town hall," she told this newspaper. She followed '
        "on a borrowed postal bicycle, guided by shouts from the fields.",
        "Air traffic controllers at Amsel closed the approach from the north for nineteen minutes. One cargo flight "
        "with tulip bulbs had to circle. Nobody was hurt, although a flock of sheep near the weir is said to have moved "
        "parish and is still being sorted out.",
        "Bishop Anselm Quarrie, who was pruning, described the arrival as quiet and rather stately. The wicker basket "
        "held a thermos flask, six boiled eggs and half a walnut cake. The eggs have been returned.",
        "The fair’s committee meets on Tuesday to decide whether lamp posts will do as moorings in future. "
        "Constable Ines Hall has already given her view: they were put there to hold up lamps.",
    ),
)
BRIDGE = Article(
    "Mill Bridge shut to lorries until Easter",
    "A diver found a crack wide enough for her whole hand.",
    (
        "From Monday nothing heavier than three and a half tonnes may cross Mill Bridge. During the yearly inspection a "
        "diver discovered that the second pier has been hollowed out by the current over a length of two metres.",
        "Goods for the brewery and the paper works will go round by Ferry Road, which adds fourteen kilometres. The "
        "brewery says that it will start its deliveries at five in the morning; residents of Ferry Road learned of this "
        "from our reporter. Buses and ambulances are not affected.",
        "Repairs are put at 640,000 euro. Two thirds come from the province, the rest from the reserve which the "
        "council had meant to spend on a new ice rink. Skaters will have to wait for a hard winter.",
        'Engineer Tomasz Wilk asked anglers to stay away from the second pier: "Every hook we find down there is one '
        'that my divers found first, and not with their eyes."',
    ),
)
LIBRARY = Article(
    "Overdue by 71 years",
    "",
    (
        "A parcel without a sender reached the town library on Wednesday. In it lay <i>Knots for Sailors and Weavers</i>, "
        'lent on 3 June 1953, and a note: "I never learned the last one. Please tell me how it ends."',
        "Librarian Noor Haddad has waived the fine, which by the old tariff would have come to 2,590 euro. The book is "
        "on show in the reading room, open at page 112. Readers who manage the double carrick bend blindfold may borrow "
        "it first.",
    ),
)
INSIDE = (
    "<b>Town:</b> the number 2 tram comes back · <b>page 2</b>",
    "<b>Nature:</b> a census by ear, at midnight · <b>page 3</b>",
    "<b>Doctor Amari</b> on sleeping badly · <b>page 3</b>",
    "<b>Sport:</b> regatta decided by a swan · <b>page 4</b>",
)
TRAM = Article(
    "Number 2 tram returns after nineteen years",
    "Six orange cars bought back from a museum, a farmer and a summer camp.",
    (
        "The tram that linked Gasworks Lane with the spa until 2005 will run again from 4 May. Council voted by nineteen "
        "to ten for the cheaper of two plans: restore the old cars rather than order new ones from abroad.",
        "Finding them took two years. Three had been kept dry in the transport museum at Amsel. One served as a hen house "
        "on a farm near Upper Mere, and its number plate is missing. The last two were bedrooms at a children’s summer "
        "camp by the lake; the bunks come out in November and will be auctioned for charity.",
        "Cars will leave every twelve minutes between six in the morning and half past eleven at night. The journey from "
        "end to end takes twenty-three minutes, four more than the bus does now on an empty road and eleven fewer "
        "than it does at half past eight. Folding ramps are fitted at the middle doors.",
        "Opponents point to the overhead wires in Chimney Row, where three plane trees must lose their crowns. The parks "
        'department promises five young ones in return. "You cannot sit under a promise," said Councillor Beate Orlov.',
        "Drivers are being sought. Applicants need a clean licence and, says the operator with a straight face, a bell "
        "hand: the brass gong is worked by foot and by feeling.",
    ),
)
BAKERY = Article(
    "Baker gives up the night",
    "Fresh rolls from eleven, because he wants to see his daughter.",
    (
        "For twenty-six years Radu Ionescu rose at a quarter to one. Since the first of October his ovens on Tanners’ "
        "Square have been lit at seven, and the shop opens four hours later. He had expected to lose half his customers.",
        "Instead the till shows a drop of eight per cent in bread and a rise of nearly a third in cake. Office workers come at noon, "
        "pupils at three. Only the hotel has changed supplier.",
        '"My dough rests longer now, and so do I," says Ionescu, who has begun to take his girl to school. His two '
        "apprentices both stayed; before, the record was seven months. The guild has invited him to speak at "
        "its spring meeting, which starts, as ever, at dawn. He has declined.",
    ),
)
POND = Article(
    "Who owns the ducks?",
    "A court is asked to look at a pond.",
    (
        "When the gravel company sold its pit to the angling club, the contract listed carp, a punt and one shed. It did "
        "not list forty-one ducks, and since spring both sides have been feeding them.",
        "Matters came to a head in August, when the club handed in a bill for maize. The company replied that the birds had flown in "
        "by themselves and belonged to whoever they were looking at. The district court will hold its hearing on the bank.",
        "Legal opinion is divided. Under a rule of 1874 wild fowl have no owner so long as they come and go freely; those "
        "that wait by the gate at five o’clock, argues the company’s counsel, have ceased to do either. The ducks, by all "
        "accounts, are gaining weight.",
    ),
)
LETTERS = Article(
    "Letters to the editor",
    "",
    (
        "<b>On bells.</b> Your correspondent finds the new chime of St Ursula's too cheerful for funerals. I ring it. The "
        "low bell is at the foundry until Advent; until then the dead of this parish go out in G major, and none has "
        "complained so far. Hedwig Lamm, sexton",
        "<b>On benches.</b> Eleven new seats along the canal, and every one faces the road. Were they delivered by lorry "
        "and simply left as they came off? Philippa Nwosu, Towpath 8",
        "<b>On last week's crossword.</b> Seven down cannot be RHUBARB. I have written RHUBARB in ink. K. T., Upper Mere",
    ),
)
SKY = Article(
    "The sky this week",
    "",
    (
        "Jupiter rises at about half past eight in the north-east and outshines every star until dawn. In binoculars "
        "held against a wall, up to four of its moons show as a row of pins.",
        "On Monday night the earth crosses the dust of Halley's comet. Expect some twenty shooting stars an hour after "
        "midnight, more if the farm by the quarry remembers to turn off its floodlight.",
    ),
)
PRICES = [
    ["", "this week", "last week"],
    ["Quinces, kg", "3.20", "3.60"],
    ["Pumpkin, kg", "1.10", "1.40"],
    ["Chanterelles, 100 g", "2.90", "2.20"],
    ["Walnuts, kg", "6.80", "7.00"],
    ["Leeks, bunch", "1.90", "1.70"],
    ["Eggs, ten", "4.10", "3.90"],
    ["Goat’s cheese, each", "5.50", "5.50"],
    ["Carp, kg", "9.40", "10.20"],
    ["Honey, 500 g", "7.80", "7.80"],
    ["Firewood, crate", "6.00", "5.20"],
]
OWLS = Article(
    "Counting owls with the lights off",
    "Eighty volunteers listened for one night. They heard 34 birds and one brass band.",
    (
        "Little owls are easier to hear than to see, so the county’s naturalists do not look for them. On the last calm night of "
        "September they stood in pairs on church towers, barn roofs and one disused ski jump, and wrote down every call "
        "between midnight and two.",
        "The result: thirty-four territories, nine more than in 2019. Most lie in old orchards, where hollow apple trunks "
        "offer nest holes. None was found in the new plantations, whose trees will need another sixty years to rot in the "
        "right places.",
        '"People tidy too much," says the organiser, Wanda Ferreira. "A dead branch is a house with five rooms." Her '
        "group has hung up 120 clay tubes as a substitute and checks them with a mirror on a stick.",
        "Two listeners at Quarry Farm recorded a low hoot that nobody could place. Played back to an expert, it turned out "
        "to be the tuba section of the Thornby fire brigade, practising in a cellar three kilometres away.",
    ),
)
ROCKET = Article(
    "School’s experiment waits on the launch pad",
    "",
    (
        "A tin of cress seed from Pell grammar school is due to leave the planet on Thursday. It sits in the nose of a "
        "rocket, beside a weather satellite that is to watch storms on the sun.",
        "The pupils of form 10b want to know which way a root grows when nothing is down. A camera the size of a thumbnail takes a "
        "picture every forty minutes; the same tin, with the same camera, stands on a radiator in room 214.",
        "They had three earlier dates. The first was lost to wind, the second to a valve, and the third to a fishing boat that had "
        "strayed into the closed area. Physics teacher Ama Owusu has stopped setting homework on launch days.",
        'If all goes well, seedlings and pictures come home by parachute in March. "And if not," says Jonah, sixteen, '
        '"then our cress has still been further than anyone in my family."',
    ),
)
DOCTOR = Article(
    "Doctor Amari answers: awake at three",
    "Write to our physician about anything but your neighbour’s cough.",
    (
        "<b>I fall asleep at once but lie awake from three until the birds begin. Should I ask for tablets? L. M., Pell</b>",
        "Not yet. Waking in the small hours is ordinary; staying awake is mostly learned. Do not look at the clock. If you "
        "are still staring at the ceiling after what feels like twenty minutes, get up, sit somewhere dim and dull, and "
        "go back when your eyelids are heavy. Your bed must not become the place where you worry.",
        "Rise at the same hour every day, Sundays included, even after a poor night. No coffee after lunch: it is still "
        "half there at bedtime. A glass of wine hurries you off and then rouses you, at about three.",
        "Come and see me if you snore and wake with a dry mouth, if your legs will not lie still, or if low spirits have "
        "lasted longer than two weeks. Tablets help for a few nights and make trouble after a month.",
    ),
)
REGATTA = Article(
    "Regatta decided by a swan",
    "Marlene Voss wins the lake championship after the leader gives way.",
    (
        "Two hundred metres from the line on Saturday, Kasimir Bell of the Upper Mere club was leading by four boat lengths. Then a cob "
        "with five grey young paddled out of the reeds and stopped. Bell put his tiller over, lost the wind and "
        "came in third.",
        "Marlene Voss, eighteen, had passed on the other side with a metre to spare. It is the first title for the "
        "Pell sailing school, whose dinghies are older than most of its crews. She offered to share the cup. Bell "
        'refused: "She kept her eyes open. I kept my lead."',
        "The jury dismissed a protest from the boat in fourth place, which held that a swan is an obstruction under "
        "rule 19 and that all were bound to avoid it equally. A bird, ruled chairwoman Rita Stein, is a competitor in nothing. "
        "The final race of the season takes place on 2 November, ice permitting.",
    ),
)
RESULTS = [
    ["", "Helm (club)", "min:sec"],
    ["1", "M. Voss (Pell)", "48:12"],
    ["2", "D. Achterberg (Amsel)", "48:31"],
    ["3", "K. Bell (Upper Mere)", "48:40"],
    ["4", "S. Nwosu (Amsel)", "49:05"],
    ["5", "E. Pettifer (Thornby)", "50:57"],
    ["6", "T. & L. Brandt (Pell)", "51:20"],
    ["7", "G. Moreau (Upper Mere)", "53:02"],
]
WEATHER = (("Fri", 14, 2), ("Sat", 17, 0), ("Sun", 19, 0), ("Mon", 12, 9), ("Tue", 11, 4))
ADVERTS = (
    "<b>PIANO</b>, upright, walnut, in tune but for one key nobody uses. Third floor, no lift. Free to whoever carries it. "
    "Box 118.",
    "<b>LOST</b> on the spa path, Tuesday: hearing aid in a blue tin. It is no use to you and I cannot hear you apologise. "
    "Reward. Tel. 0555 01 73 09.",
    "<b>ROOM TO LET</b>, view of the weir, to a person with regular habits. 290 a month, heating included. No trombones. "
    "Widow Kessler, Tanners’ Square 3.",
    "<b>TANDEM</b>, dark green, little ridden since the divorce. Front saddle as new. 150 or swap for a canoe. Box 121.",
    "<b>CHESS PARTNER</b> sought, Wednesdays, playing strength modest, conversation good. I supply the biscuits. Box 122.",
    "<b>LESSONS</b> in Portuguese and in silence, by a retired simultaneous interpreter. First hour free. Tel. 0555 01 40 88.",
    "<b>CHIMNEYS SWEPT</b>, nests removed by law only after July. Firm of Albrecht and Daughter, established 1911. "
    "Tel. 0555 01 22 60.",
    "<b>WANTED:</b> clothes pegs made of wood, large quantity, for a sculpture. Collects. Art room, Pell grammar school.",
    "<b>KITTENS</b>, four, grey, to be given away in pairs to a house with a garden. Mother is an excellent mouser. "
    "Farm shop, Upper Mere.",
    "<b>THANKS</b> to the young man who carried my shopping home in the rain on 9 October and would not give his name. "
    "There is soup. H. Lindqvist.",
    "<b>SOLD OUT:</b> the apple press is booked until 3 November. Bring bottles, not buckets, for the dates after that. "
    "Orchard Society.",
    "<b>GHOST TOUR</b> of the old tannery, Fridays at nine in the evening, sturdy shoes, not under twelve. 6 euro, with "
    "lantern deposit 10. Meet at the horse trough.",
)
IMPRINT = (
    "The Pell Gazette, Printers’ Yard 1, Pell. Editor: Cornelia Ash. Every person, place and event in this paper is "
    "invented. Advertisements for the next issue close on Tuesday at noon; a box costs 2 euro. Printed with soy ink."
)
