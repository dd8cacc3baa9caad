"""Digests of the admission policies that this version ships, by name and part.

Generated from manifests/policies by `make generate`. Do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping

SHIPPED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "riskladder-bindings": {
        "policy": {
            "matchConditions": "4a0c8c8a3ffd0d9a",
            "resourceRule 78ca6c816abb3d5b": "78ca6c816abb3d5b",
            "validations": "74f79960d327d152",
            "variables": "1348403ce2b700b0",
        },
        "binding": {
            "policyName": "15d8e226df7c3d10",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-decisions": {
        "policy": {
            "resourceRule ec8881f08378e940": "ec8881f08378e940",
            "validations": "69755e5a76bf5c90",
            "variables": "b0c9cfecbb902209",
        },
        "binding": {
            "policyName": "e96d0f4023b15d1c",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-identity": {
        "policy": {
            "matchConditions": "25b29fdf6c27298d",
            "mutations": "bee6777f0a7055a4",
            "reinvocationPolicy": "f46b3923414c5ae3",
            "resourceRule 46145ea0cbadb128": "46145ea0cbadb128",
            "resourceRule 8f4be60a6b807ab4": "8f4be60a6b807ab4",
            "variables": "2044556d7d1b6137",
        },
        "binding": {
            "policyName": "43f897b78eb12f71",
        },
    },
    "riskladder-kinds": {
        "policy": {
            "matchConditions": "a3cd4ab987f84a89",
            "resourceRule 4668a17e1c321703": "4668a17e1c321703",
            "validations": "a956af83548f129b",
        },
        "binding": {
            "policyName": "c15308a74e4efc24",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-lock": {
        "policy": {
            "matchConditions": "717cef9590acee5e",
            "matchConstraints": "1abf7c5e8877bb7a",
            "resourceRule 2508606a6a5d1be4": "2508606a6a5d1be4",
            "resourceRule 34f780a67ccf3661": "34f780a67ccf3661",
            "resourceRule 7b93c3c29a579309": "7b93c3c29a579309",
            "resourceRule 821b1e5f9aeb129c": "821b1e5f9aeb129c",
            "resourceRule 866a8cbf2bfb2355": "866a8cbf2bfb2355",
            "resourceRule 883e452b0b1ba633": "883e452b0b1ba633",
            "resourceRule a32a1a2da2f544d7": "a32a1a2da2f544d7",
            "resourceRule ea72ce012557081c": "ea72ce012557081c",
            "validations": "b723cd2efae352ea",
            "variables": "18859a7ca96a8d26",
        },
        "binding": {
            "policyName": "3379110e6afc261f",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-lock-names": {
        "policy": {
            "failurePolicy": "2bcb008765cd0f5f",
            "matchConditions": "3102557e46bf68ef",
            "paramKind": "46474828e1c9bfa1",
            "resourceRule 1b9a7307b69d8bbd": "1b9a7307b69d8bbd",
            "resourceRule 3f987fc20a4247f5": "3f987fc20a4247f5",
            "resourceRule 58a9794fa9c46465": "58a9794fa9c46465",
            "resourceRule 5ec10f40ed91959e": "5ec10f40ed91959e",
            "resourceRule 81c4a6ac32305d51": "81c4a6ac32305d51",
            "resourceRule ac7f779cbdf34cdf": "ac7f779cbdf34cdf",
            "resourceRule de8afacef2be27a6": "de8afacef2be27a6",
            "resourceRule f2a6cf73c9eee3c7": "f2a6cf73c9eee3c7",
            "resourceRule f7b72d337e14b497": "f7b72d337e14b497",
            "validations": "ce7a5ca98614a5dd",
            "variables": "b0b097c6de4cff78",
        },
        "binding": {
            "paramRef": "372e8ebcf2cd03b2",
            "policyName": "7b77f55a98ba7d73",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-operator": {
        "policy": {
            "matchConditions": "8e230fd2dee16868",
            "resourceRule 097aa9b79db8fea2": "097aa9b79db8fea2",
            "resourceRule 399bd9e3b8f8b077": "399bd9e3b8f8b077",
            "resourceRule 3f1da96612295638": "3f1da96612295638",
            "resourceRule 420d9379efea235e": "420d9379efea235e",
            "resourceRule 4d9c5ac3df27a0d8": "4d9c5ac3df27a0d8",
            "resourceRule 5a1c2ccfdca1025d": "5a1c2ccfdca1025d",
            "resourceRule 5ccee8276ad730e8": "5ccee8276ad730e8",
            "resourceRule 68b4c248a86b3d5e": "68b4c248a86b3d5e",
            "resourceRule 6e1ca8a741884cd3": "6e1ca8a741884cd3",
            "resourceRule 77dffeed313a5045": "77dffeed313a5045",
            "resourceRule 77f951127c6dbe0f": "77f951127c6dbe0f",
            "resourceRule 7f8c57ee6aa7f2ce": "7f8c57ee6aa7f2ce",
            "resourceRule 7fa169d5e4bd994a": "7fa169d5e4bd994a",
            "resourceRule 92151760d08327c2": "92151760d08327c2",
            "resourceRule 9aa3d17c6fd82d22": "9aa3d17c6fd82d22",
            "resourceRule abee0bfd675b4b18": "abee0bfd675b4b18",
            "resourceRule b0c45cb3a3c70c63": "b0c45cb3a3c70c63",
            "validations": "320b070d1dc9c15b",
            "variables": "dd14c47551df70e6",
        },
        "binding": {
            "policyName": "5a2662233462eea1",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-raise": {
        "policy": {
            "matchConditions": "f4354848b3501e36",
            "resourceRule 3bc250921da418cb": "3bc250921da418cb",
            "validations": "fe7be78fc0cb4a44",
            "variables": "f700a6c32b64cd36",
        },
        "binding": {
            "policyName": "11e9a13ad937f938",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-records": {
        "policy": {
            "resourceRule 26fb2f2e45050fd0": "26fb2f2e45050fd0",
            "validations": "20eaf01f85d333f2",
            "variables": "37c3be6a7d25d7d0",
        },
        "binding": {
            "policyName": "1b091b88becf8407",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-sources": {
        "policy": {
            "matchConditions": "1be000b4e82b0a5f",
            "resourceRule 3bc250921da418cb": "3bc250921da418cb",
            "validations": "774b505c50ac6f2f",
            "variables": "17d1a6dde71a0771",
        },
        "binding": {
            "policyName": "6e1553ffc5950ced",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-writes": {
        "policy": {
            "resourceRule 058973844a7886ae": "058973844a7886ae",
            "resourceRule 4758dee146b4eba1": "4758dee146b4eba1",
            "validations": "51565e935ac96608",
            "variables": "817a19c584a9ec6e",
        },
        "binding": {
            "policyName": "8031d0243f41bb08",
            "validationActions": "ee7631821c496f7a",
        },
    },
}
