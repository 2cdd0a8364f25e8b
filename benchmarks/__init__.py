"""Speed of cellgate, alone and side by side with other libraries. See README.md here."""
