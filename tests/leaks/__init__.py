"""Whether the key can be made to leave the environment, by anybody, on any way."""

KEY = "dw_live_Kx81+mZq0/vTnR57yE=Q4"
"""With characters that URL-encoding and base64's two alphabets treat differently."""
STAGING_KEY = "dw_stag_7Hc2/Jw9b+LpXs40uVd=Ge"
