"""What the page shows of this model beside its claims, and the server that shows it with the model
behind it."""
