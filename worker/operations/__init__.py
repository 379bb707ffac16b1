"""What can be done to pictures: from words, from other pictures, behind masks, larger, in rows and columns."""
