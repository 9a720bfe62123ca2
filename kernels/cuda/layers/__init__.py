"""Linear layer and products, embedding, dropout and its random words."""
