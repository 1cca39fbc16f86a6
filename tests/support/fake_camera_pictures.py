"""Two seconds' worth of video for the fake camera: H.264, ten frames of a moving ball, made once with x264.

Each text is base64 of the NAL units of one group of pictures, in order, each after its length in two bytes.
"""

from __future__ import annotations

import base64

_TEXTS = {
    "160x96": (
        "ABxnQsAMphEKNsBagwMDUoAAAAMAgAAACkeKFQjAAAVoyEIyyAHOZYiCA1///4eigACrz5OTk5OTk5OTk6666///UYVD3AAZ8IhQqZ4xxZLv"
        "nQO+CboKKACrsOkLAFeAAUkBBrq//XXCqxUAypSOZYDH2IXPOsCejXfYFFzyU1P/d2oIa66666//+cIUD3AAVwmlKFS4ziS3elg84neCilRU"
        "OzAyuAUAALZMgcudJyIuX+JYACaU5hl4gI4ZMluDkauLutCcydASsDqJZnD7A9N7fgwAABAS/gAACAp/+pz/4fYAsCqNYy5RrlUWHz07Oeg6"
        "jDrgwJad8g46Sf/kKfT/CZPgRDMf1cuHskwwHtUuBKpRB3f73gq7gCo1kgaMN3qH66666/+n04UBJJAdW/U0CmxBpwmrDT3yBSH4ucj/vf/6"
        "TP4ICgbhVNulN2jfveC3jR6VWCudMCPXR0jj/f9//8hghUABsjM0Imc6kI4AD6WblX/f/WdYQHF44BAQHc/XXb7f4TMSDkmmeCZPQQO22wCL"
        "99bbSEkfd9fgAAG9QU1111114rqH/wkCTwFO12+9p4MtyHvFTCj8EQn/QOYFLTUAVYcW/4Jv/+Epi40ZRvAYxZH+ocJAQ8Grf+5drgkjX9wA"
        "AB/8kEtddddddddddddeANlBmhwGvHwqJMCLgKos8yxYkvBAcCWfSBGCp6QhAhhE5jy+CR7tK2pKq/44VAj/AaQHTEopAQnb7/1fvLuQWATj"
        "55uYBRzfjzuhp+8CUavqcjLmERokV8MFUcie5v6RB+AQVZmfWjqJggIeEngyK9yiZl+flsSqGyv7BQEFuYEIMz1pm/6NzCeASL1Ox4kZAhfX"
        "q/Z90k97yVGP+4AGOlN8ueq5Je9bc7W1KE/3gYiSIN9f1HR+GzUtjJKW7EFIvgN0S3Zb2HtshFUx2RB3JHDD7xWr9H4QUR5oAMhBmioBrx5/"
        "xYsWGsAUD0dlV+W8SyH5b24g8N6xKUcCjgCGU3iAOhzUUEcSse/4MUcOVvc+n8QVlZdYy6+J99rtXdgbe4/+ERon0oCFLQtvNvv+PccQluRm"
        "cjngl1z0JBIBruCEvPoFMucASt8zDqngl31YkFlkmglSaCAh1V7fLwELWs5N1dp/yILJohCKRfiHoODJvMmAFt4aH22WTK4fTpqlEFyB2x+j"
        "E73qAFtdq8fFkISkjcLTbjkJi//8PFZ4lGVu/4j5oADfQZo7Aa8IH4lYTEhESOD3AGNStwEANvtKO+8BaavDvYjqSf/922mn0EexVJb0xCGi"
        "eUQcKthfFiX9srA1eUPAcFY1dUKQJbu5C4q32Wrk96BiCHwiPCC+gOOAG518mTP72BO8ke0cKG7+0eAs+nv5Ygrk4IOETy12JEAkRskvFABM"
        "meEGOQi3M+bS8IoPBioMPGVB8Am3ORO4Ti3a9/PhxDbDI8SJIUIjc8AZJsVhW+JGu2xW4FEMg48R189yOYtgCRegXFv5D1GukfpX/2cAF66+"
        "ogz/pLf+SQ+OIZLeOgEAQZpJAGvDKwmJCIkIhiAk/cvACEYTuj+lJnpZtVX/ArZTEAhVqTx9AoeyEB2CksQIqF5pPYU+6+iODcwj600DEEIe"
        "CQQFgS/TuvwKa7sVJhMTd9XIZIFhbaSxmj+bd3uiYeNfb+CakDhnycHV4ghNLYR3oby5goJUAXJXXAzmJf9hgbrrUGKlj12JdD2V8p30TsnB"
        "jCI+aYIDgjMlsk0VLzgKoGPSXw93ABx56IgbPzzBX7f73iCfeoJwU+RgBYvsLowQTL7UHZAWtk4h29rIQF4ISRhOCuT5bBfDRc8G49QeP++8"
        "d0HJ5O/7hJw/PFgHWUHvIYRk6x7vp+asnhHzQAEcQZpZQGvDKwmJCIkIhzgTXrHCb6qE1gIGbWbMRNr+q/JJkIUoOwUuWk/iHBF+R4DC6qk8"
        "c290wHSMpZ1r1yyhrRSgSQYhEWEHkNa2ABq9KbQeb8xbfg8PgHrS7bf/G/AgTf/37p3J/+l/XX3uhC6CI0IYbbRCghTAGCGoAZrrTyAxL/TM"
        "90i/eX9/519o+PtE5FXCI/iIq8UWPM7jnlgq/XgNgtWBz6LOmdv4AascnLzxCcEIbyMAOmSsgGXOY4De9Tkaiq0JwIooU8RjU+JNoqIQHIK8"
        "UIc3CC629bgE+6up/f5lxKNfgDDTbQFafDPFpe/k3/L7747AAiDtESZtJgAY/0vRxdj98TFjsO31L/t6IW/eHXLtsD4n5YABIkGaaYBrwyX+"
        "DmDkIgwMEIAPSjPlCFbn4CIvTaTDjvVeEwYDxY5YFeYMvAHfk4RHIHJ8C9zUHSdLO4c9u7cFGBWKnNVkjWihIj+QYeXwiLsWewgTgaXV1HXF"
        "xdX98Bqjb5Us37e8Gd0ZolTevgCH5VvdJ6qkMHILXnEYhD8CG0qlDwgvhlpBGIEio4uo0B5c/OCbAIMksCwiQI5KvOKKNONFq/RfihXwZPmX"
        "rG26YnGQj11TODC4hMfRi0zSf+IQRk5q8CSCvLXGGJEV3nSmseAaipMHxY/SdKQhxOCsO8MBB8MjbSP9veG7/XeNfrR5v8VPQAoHO7A1B88A"
        "kCWW/75AiJHPgAM/V9Z4s61xa1LbtpCb3gwhx60eMKP5Hl0vxHzQAXhBmnnAa8M4REmJAGTtq0QM5PI/OMImSUSQpDg5BTB+BPHOr+OGZiQA"
        "ZPrTNu1g9XLayv18WCCRQnAENqeyO9+1dXmZm27EyLBh0OTy0UCSOwQBhwgzA2GXJxbf9c4GVY90lz7fveKEkccHOb4II+bqu21NZP9rwJBO"
        "iVv9Yn39rMAQ1597MUg/3sIRzgWQfyCiABi9uI3x4/QdMW8BCmvBopgILVYFmfFT8czr0eBRBmIFCgj4I2TjESnEPK6MsYnW3D7QI1txJmaE"
        "//ehc0GhTR2Ko5+cSgIuRmV8p/B59zQjwoij78caN2IIQFEP7vtKhK5oxXc86NAggpyCg+cyMnHgm+8sG73TwPTpNo4Znf0mmVFKDMEPwgpY"
        "QJ1QeD7b50Qc/Uu5ZKKgRkDB00iZgX/d+YWuXuBzxzTmOS+9ucDc+whoRa6TI3K4GO3V0EgyGbCLzsdC7HaeAD1qmhtVuDhJoJ9WCPRQ2ifF"
        "3ZldFf+Ya8yQ/1xsAYdBmoiAGvDOERJvAB9ZshRXQ5wiJCI7AHQDQp1FvAsAB4AEoC6QBN2puEwIybiYJi4Dn6p9OylQyAtIkhO3vHExV7+D"
        "D5QJYMQhxLFSgaEE8r7T/vbHts22l2/AEi0synvVZMKfetrddf/5cCAufOUutzoQv/4ROBZB6KPAgztF6LhH/7fe3nAzn6QCUI6zpdUx2l7L"
        "HfEXz/69Wa51ODFvYj0oKgxkP+CaemRhEcj9zaSYzgaQI4kQAIFgKk881LeIL15HB6BKhYJSnkqUQZ7/b8KdmA6iDCdvXdWBJXv09bJJ/f+G"
        "cl834QGeQT4CDU1LP3DfF6foNPGPdez++UntlKCIMYIwzhAQf23dwf/O+OV/8eCxcTNuq7ff/9ID7kiCI00/f/ajrr7/B7k504f/HVW9xuJK"
        "7lrtEy4Cog1ZeDoFARUAHe0jHmXV6EVXKMhn8xtYbsAEcteoaP57QIoyqxFKRmuzd2AtmSnAb9A39gw+fYnjYCEb9Sv1pelfF4TU5D0ZU542"
        "AXVBmpiQGvDJ/L1w2ERIT4sVAWSTNIAF2+LoakNOL3wBRZazNjI3+AYa4rSMAHgfsH9CCsF4EkLhAmAEMUtiLmvvq5KxE7XgFS2nFhc37f4E"
        "ypPOTHifoG6OZL5n/PwBUZrWnTsBmPcXWaEK//vcTKP+2+8bzqcInA0gRRXgAI0YeZ5BKMk0NIdcmEdoLsR53yBJIpdA/aqoSpemQBT920J4"
        "6g7xfB/jJKqpQcRLoxwLIOQNIEUSOJ3P2LC7UHgyDiyILme9xSX0hkr+zdxnA9RB+M8e8zWQ1T39OvPMBJBmQ8BeVp/UwQ/+ph900YTgxBCE"
        "CSt//1t+DVZvkZi36WyleACT6LJ5MPxD3WJSGTCbrBx5wYGbn2uu3DLnOs+D/MWQNXdvFAFhwNirgSAYBFcAIz0+nn9MPTAABAPwANqgFQ3c"
        "kcm6gPUBXwANPvkPpqX5aA5nYkb/wjEMZ/ByP71f7KCQv0fki7t6Dlh4+QmTBTn7xHyw"
    ),
    "128x128": (
        "AB1nQsAMphEIEbAWoMDA1KAAAAMAIAAAAwKR4oVCMAAFaMhCMsgBz2WIggNf//+HooAAq8+Tk5OTk5OTrrrrrrrrrrr//9RhUPcABnwiFCpn"
        "jHFku+dA74JugooAKuw6QsAV4ABSQEGur/9dcKrFQDKlI5lgMfYhc86wJ6Nd9gUXPJTU/93aghrrrr//6WhQPcABXCaUoVLjOJLd4vBxRIsM"
        "NVGw1LTpbZIISQ6BQMmr9JyIuX+JYACaU5hl4gI4ZMluDkauLutCcydASsDqJZnD7A9N7fgwAABAS/gAACAlh/qc/+H2ALAqjWMuUa5VFh89"
        "OznoOow64MCWnfIOOkn/5Cn0h+ExnwImz2+eFpxGA95XC/UgZP97wX3AqSnAKGF3qCeuuv+FPpwoCSSA6svU0CmxBpwmrDRD5ApD8XOR/3v/"
        "9Jn8EBQNwqm3Sm7Rv3vBbxo9KrDsdMBvro6Tp/vd//yGCFQAGyMzQiZzqQjgAPpZuVf9/9fEIDi8cAgIDufrrp9v8JkMKeLLF4PYWUONLAsd"
        "vW37p+0QTS/9vAAAO6gnrrrrxXUP/hIEngKdrt97TwZbkPMmYo/BEJ/oHMClpuAOsOLf8MH//CSaEyF28BjJEP6jjwMcCtv/MuuCSN364AAA"
        "7+oJ6666666666666666668AskGaHAa8KOCEWETBbCFt2uJW8FJTYMV52GiQyZcBEI2MetUurEd+JUEedIAW04jP0QHlV/+Pm730Wn/9xBlH"
        "vuCBe/ZHYDy/4sbiT8AIBtsjl14IpP/I0M//+JL6fgyiltoi+DQ63FsYQVOjYTh0FWTT4lVUr84vLD7cYXackYsD/fswR4AIrVZ6J65xI6V4"
        "zYqiImCP9eo2pKrcPn9eOyTL+03gMF3Sjf6ELPndqc3iPNAAz0GaKgGvCh/PzH9YsI2OBVwoqXNwIvwH4OQFGJ6WPd+DIIRBwDrNBY4MaLnx"
        "4JGezWJPgB0R3U0d3/f8wPFQfyAbX03Sb37sCnykX5Qv7FN/T/h8JwAVFKKlxENLc5AOmbhMUIneNIoVsSEJTeZpd9d+4bNs+PeDCzTxYR33"
        "3gvnJ+u3bazTUsSKpvE0gI+uTv35Axr3lpV/vwB/2PIgpbvZ/4GxgQEH0AwHspJnT8MHja1qHBDECMpPJuQhYAFIWl8XtiwWlSpTN5wYc3xH"
        "ywDKQZo7Aa8OWCEGISBBAivnAI3LKcBjSEZrBPJ9r71Y0IqIziZTzDqxoKUn5uPFuJNTwYdyaJ1bghBfiS9Vw/3YBZpdrEPqBEeX9C8njyEM"
        "dCnh3Jq7V8ReJDQVMGTl4YgCwK5LDTPJywItvxwIW6+n3km5Ikcrck+m6Ad0nOV4DG/Fy/EmvrCht6hQ5pG3EEpMD/WQBk2ieMPhWyZ7wP/7"
        "vjO6lIQdqBpPXgl/CK4CL+R9QDAXZFBNl78/3TGgJNddQ2GSXA3HzfEfLADdQZpJAGvDlghBiEQ5hvwD1UGpitcJOMyAEHb0yd+kc1VXgfyd"
        "aQkIjQjiuPLuGWCOBcSliKPIMmJ20l7j6v68m+nE4XCN5YA6tTR3A/eBjOjmofeGd5ope/kZN3MJIPdDKUfxEWI4d4WQQ5rCL1v4D8rT7fuk"
        "2JGzjFXdPun5eJ7BGZfwFrteLMFpAhDXL11UpxmJJolCBUI41y9D/mXMlBktxyfAXu9R/dP3HgCZ+px+f9Z4UCAtpgDxbgqF2XmYTfMIf4uz"
        "+T36/ZYAtd1/zJnAmo4tPt+0vp/iPkgBFkGaWUBrw4uDkWERYW4AFozSrjyR/aAF/1T4f/2DvokwP+1H9dqXsSER4R9Ri3APQ+SlgGRuc0j9"
        "hlZqznKSUt//bMlI/m/J6lgg4OwKOVghDXnl600PO/EH4AHI6d+nxSFZBBJie0VhcEOC8CHiSTJkm/2qwztgBiQ01gzxJEGZeMfKuRNq7OJB"
        "CC/CPlHvbO5V8AaPDd+sj1ZA8Fo0LlTdBn9fEgBwMfKPCJPfimdeYhNFtCdXI+NCJRg/RDUoTPNYQyd4LCTafb7Pr9vDV9pOHJSlq7v97mEC"
        "0Rrp5tBoDI8WlCX+YoAlZNKzzdUjW3cCjXDnjlDcX7gBOF4Vi/dEqH6ePUlveHAV2pPd1HiDfh5viPlgAQhBmmmAa8OF/wzFhEwSKgACt25T"
        "Ed9UAPBlkt3DvvM3bsDUzl+DmDkSCgeCgWm4ojNAGVPC5v8D86JACwSZAQ5US77/J+vhkEOWG29jjCH+vuxZAAvMtGUNtsawyDEc4zdkUzXe"
        "gg1s5CEf0GHiVAFgp05U4AB7AP/SZGCEFIIQWiiACH1rd3l8EdkB588xJUGS9cD3aI9ibAU9rFsoUhy+iSCT4jOGJ7dSeIGD1BTNrGUJffX3"
        "vAiq997yX/8Hfc9wlY69HegOh9xBQMu/lieL/AKx/tcbEgHFFvBFAXHpEK4dRJkkconK/k4SybVUGEBpt08CPWb+YCXWXdSz/uGTc83XAz1x"
        "HyQBc0GaecBrw5iwibgFVle/gAQLB8Xy0ZPMtITq9R4RFhIuABL1Ch3M51nGv0xl3kxsRwCoC4OmQCSsw0Mb8v3jeuUWAWG2WoaOiDOYBE0Z"
        "1soayuaB/tUsYTpnvv4ybDIfsYI4BMdkjPLAgS7v27aOfDV3sCGKM1z8wYrswcMzb4jd2owIPyAhfaTWz8OiEyJ3lE5YIQW9UCHKPL7bbfXz"
        "fAk5kdH8YRiW14G7OylyV/+BoOXuUBVO1N//ZofXeNJ8X//XiIHLAIYJGJ7dTXiBQ82HT77gVfddd3wqeLSRf3fimlz2e7/3gSznQdq4wpV5"
        "rvJGqvkUid/iy594FzmUX4CcF/3B9GLsvfn4AJMbETj+pSd9J03eCA6yxwRIHYdxA6bd8USf/68AyHOeEQU06Mb7T+7AlGsDWg0nrAoO7moW"
        "qmsw2JCndC2HNAYc5fcnxDHVzqA3f6zlDQrx/ioDVoD6E1qFVDO56+X/9j3P9+FB/P8kAaBBmoiAGvDh/xIRFjMADide5YXL7wGzy0sbkcM9"
        "JQMGwAzPAAiQd2BKAevWgACAJ4B0+vPylwMp7gPKr4JfeA0T78uIThEls4zTBzDILwjAGT7iYOAEAHyqZ6IyY2LJYCTiM+0Gz9+vGNe9s9qR"
        "kbgAidvSm0BE0pENz9sHGSx0d51z7v2XVUzHadzq9/Bh5CE1vFhHxoR7KLwqGR4rPjj36pvILk/7D4AGrW39G+s/8HqANyApiXDd6nLX/eAs"
        "DIxRWO1Mox2+feP7St6RzldaCUrKcjM76FIY13DLe9eH38e0OZ4Hqo9il9f7cC0c9P/df/Os4NvtBK292UJsWd3sgJQXlG2XvYSF1uxTKefJ"
        "IyXJ88bI0ZCQvVWEREBEjixqmnoAgDuAORV62SMPkruAAlkGL8HKqfTdsAAtoT2zYL4jCP9aCGVBRjjqwqpn/mhoKfGw9AjfCSXsGfxAkBXP"
        "cwOneBEkf1iWNtMJzm8D8PRD0sAjQTrUAqBoJo1X9IY4DVQteHJ9Zv76dUwt9TFF7/uELOwjFX+wrL///hn+SAGaQZqYkBrw7EgZwESLJg04"
        "HYBBb9FdCxtzsPhwWhHnXoD9AAHJqLQArQdrEmlLgdrGWQaRX2f4BO1Tc9ZP/fGJJxCeBhA0xIZiAiCHBaKEQC13jIgiBq3hEnhzkABZXaru"
        "qpAjf9WS/ZnmNVzVAKQf+mDuJAvAeNsDX59ECQZ5b1ZwUc4hRvQfyXiUngSANHiRo8dn9Ar45lt+Z7zEwYnx8mU4FbVZZDc3+eGOW3f//88x"
        "ND7VX0UK/ATLuIYZ+t5SSSJ3/y/yYoccDLH6wDmWT0dr7zKb538BLv7tueeCAF+kvjJaf+lUuJCpR8r/bT75XJJ2U3fVhmCEGYoQGnhjWKUs"
        "N9iLhszicAFab6WP/j/REjJNh3zDb8AIB812sPoRcgtKTDybl75/7lZ5WhMkM1V3vjVR7yuvIra95nVfxIOQJIgYE/nHh0/cA29T8o8n5vne"
        "wD9se5Dkf6mCRM2CIKvu61dyuMQ2s7ogBLCANQxPGJLECQc4NMUgXHXwEQ2MtY+OZy975ROFunQw1KG8oU8avesd//qH8XA="
    ),
}


def group(size: str) -> list[list[bytes]]:
    """The access units of a group of pictures, the first with its parameter sets.

    Args:
        size: `160x96` or `128x128`.
    """
    data = base64.b64decode(_TEXTS[size])
    units: list[list[bytes]] = []
    parameters: list[bytes] = []
    while data:
        length = int.from_bytes(data[:2], "big")
        unit, data = data[2 : 2 + length], data[2 + length :]
        if unit[0] & 31 in (7, 8):
            parameters.append(unit)
        else:
            units.append([*parameters, unit])
            parameters = []
    return units
