"""Digests of the admission policies that this version ships, by name and part.

Generated from manifests/policies by `make generate`. Do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping

SHIPPED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "riskladder-decisions": {
        "policy": {
            "matchConstraints": "ad65816a79592cf4",
            "validations": "f7e9ae470e28768a",
            "variables": "b0c9cfecbb902209",
        },
        "binding": {
            "policyName": "e96d0f4023b15d1c",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-identity": {
        "policy": {
            "matchConditions": "1bb75a23bf56f60e",
            "matchConstraints": "8fe4cf0a2c54fb72",
            "mutations": "7b7dada5e58514f3",
            "reinvocationPolicy": "f46b3923414c5ae3",
        },
        "binding": {
            "policyName": "43f897b78eb12f71",
        },
    },
    "riskladder-kinds": {
        "policy": {
            "matchConditions": "a3cd4ab987f84a89",
            "matchConstraints": "9420cdd71add33eb",
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
            "matchConstraints": "d60c7ddd21758918",
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
            "matchConstraints": "8746990a57592ed8",
            "paramKind": "46474828e1c9bfa1",
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
            "matchConstraints": "ae632a3f449fc412",
            "validations": "320b070d1dc9c15b",
            "variables": "c50c05e5b2ae55bc",
        },
        "binding": {
            "policyName": "5a2662233462eea1",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-raise": {
        "policy": {
            "matchConditions": "f4354848b3501e36",
            "matchConstraints": "aeb2433c759d83d3",
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
            "matchConstraints": "9d0c203a06d81b39",
            "validations": "e99735927a2f97d9",
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
            "matchConstraints": "aeb2433c759d83d3",
            "validations": "bdfd06f5df1590a2",
            "variables": "17d1a6dde71a0771",
        },
        "binding": {
            "policyName": "6e1553ffc5950ced",
            "validationActions": "ee7631821c496f7a",
        },
    },
    "riskladder-writes": {
        "policy": {
            "matchConstraints": "67c64fce1906be72",
            "validations": "b63b97229a3cf769",
            "variables": "d5431cdc1320103d",
        },
        "binding": {
            "policyName": "8031d0243f41bb08",
            "validationActions": "ee7631821c496f7a",
        },
    },
}
