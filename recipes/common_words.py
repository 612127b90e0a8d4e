"""Common English words, so that class names outside the captions become few tokens."""

_ANIMALS = """
animal ant bass bat bear beaver bee beetle bird buffalo butterfly camel cat caterpillar cheetah
chicken cow crab crayfish crocodile deer dog dolphin dragonfly duck eagle elephant fish flamingo
fly fox frog giraffe goat goose hamster hedgehog horse insect kangaroo kitten koala leopard lion
lizard llama lobster monkey moth mouse mussel octopus ostrich otter owl panda parrot penguin pig
pigeon platypus puppy rabbit raccoon rat rooster scorpion seal shark sheep snail snake spider
squirrel starfish swan tiger tick toad turtle whale wolf worm zebra terrier retriever spaniel hound
shepherd bulldog beagle pug dinosaur brontosaurus trilobite nautilus hawk emu ibis cougar
"""
_THINGS = """
accordion airplane anchor apple arrow axe backpack bag ball balloon banana barrel basket bath bed
bell bench bicycle binocular board boat body bonsai book boot bottle bowl box brain bread bridge
brush bucket bulb bus button cabinet cake camera candle cannon cannon cap car card carpet carriage
castle ceiling cell cellphone chair chandelier church city clock cloud coat coffee coin computer
cookie corn cup curtain desk dollar door drawing dress drum ear electric engine euphonium ewer eye
face fan feather fence ferry field finger fire flag floor flower food foot football fork fountain
fridge fruit garden garfield gate gate glass glasses globe glove gramophone grand grass guitar
hair hammer hand hat head headphone helicopter helmet hill house ice inline island jacket joshua
key keyboard kite knife ketch ladder lake lamp laptop leaf leg lotus lamp mandolin map mask meat
menorah metronome microphone milk minaret mirror money moon motorbike mountain mouth mug music
nail needle newspaper nose ocean office orchid pagoda paint pan paper park pasta pen pencil pepper
phone piano picture pillow pin pizza plane plant plate pot potato pyramid radio rain revolver rice
ring river road robot rock roof rope rose ruler sail salad sandwich saxophone schooner scissors
screen sea seat sheet shelf ship shirt shoe shop sign skate sky snow snoopy soap sock sofa soup
spoon stamp stapler stone stop store stove street strawberry sugar suit sun sunflower sword table
tank tea telephone television tent tomato tool tooth towel tower toy tractor traffic train tree
truck trumpet umbrella valley van vase vegetable vehicle village violin wall watch water water wave
lilly wheel wheelchair wild wind window windsor wine wing wood wrench yard yin yang daisy tulip lily
iris poppy airliner jet fighter sedan convertible coupe wagon hatchback
"""
_OTHERS = """
the a an of and to in is it for on with as at by from or be this that are was not have his her
they you we he she all one two many few some more most other new old good bad big little large
small tall short long wide narrow high low fast slow hot cold warm dry wet clean dirty soft hard
heavy light dark bright empty full open closed round square flat sharp smooth rough young american
african asian european english french german italian japanese chinese indian mexican red green blue
yellow orange purple pink brown grey gray black white gold silver cyan photo picture image drawing
painting sketch cartoon texture type kind close up view scene background centered satellite person
people man woman boy girl child baby doing playing riding walking running jumping swimming eating
cooking throwing holding cutting writing climbing making using face back front side left right top
bottom inside outside over under between behind near far day night morning summer winter spring
autumn year time world country state school forest annual crop herbaceous vegetation highway
industrial buildings pasture permanent residential banded blotchy braided bubbly bumpy cobwebbed
cracked crystalline fibrous flecked freckled frilly gauzy grooved honeycombed interlaced knitted
lacelike lined marbled matted meshed paisley perforated pitted pleated porous potholed scaly
smeared spiralled sprinkled stained stratified studded swirly veined waffled woven wrinkled
zigzagged horizontal vertical diagonal thick thin digit number letter word shape handwritten printed
"""
COMMON_WORDS = tuple(dict.fromkeys((_ANIMALS + _THINGS + _OTHERS).split()))
